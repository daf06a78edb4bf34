"""The results as JSON, for other programs and later comparisons: every value of every round.

Owns the format of the file. Does not name hosts, users or paths.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures.base import Metric
from bench.results import FigureResult, Results
from bench.stats import Spread, ratios, spread


def write(results: Results, path: Path) -> None:
    """Write the file."""
    path.write_text(json.dumps(document(results), indent=1, ensure_ascii=False) + "\n")


def document(results: Results) -> dict[str, Any]:
    """Return the results as plain objects."""
    return {
        "about": dict(results.machine),
        "rounds": results.rounds,
        "scale": asdict(results.scale),
        "remarks": results.remarks,
        "budgets": {verdict.value: count for verdict, count in results.count().items()},
        "figures": {result.figure.name: _figure(results, result) for result in results.figures},
    }


def _figure(results: Results, result: FigureResult) -> dict[str, Any]:
    return {
        "metrics": {metric.key: _metric(results, result, metric) for metric in result.figure.metrics},
        "seconds": round(result.seconds, 1),
        "not available": result.unavailable,
        "failed": result.failures,
    }


def _metric(results: Results, result: FigureResult, metric: Metric) -> dict[str, Any]:
    rows = result.rows(metric)
    return {
        "title": results.title(metric),
        "unit": metric.unit,
        "rows": {
            row: {
                "label": label,
                "rounds": list(rows[row]),
                "spread": _spread(spread(rows[row])),
                "ratio": _spread(spread(ratios(rows[metric.of], rows[row])))
                if metric.ratios and row != metric.of
                else None,
            }
            for row, label in metric.rows.items()
        },
        "budgets": [
            {
                "of": budget.of,
                "over": budget.over,
                "limit": budget.limit,
                "measured": _spread(measured),
                "verdict": verdict.value,
            }
            for budget, verdict, measured in result.verdicts(metric)
        ],
        "notes": result.notes(metric),
    }


def _spread(found: Spread | None) -> dict[str, float] | None:
    return asdict(found) if found else None
