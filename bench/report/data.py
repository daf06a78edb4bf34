"""The results as JSON, for other programs and later comparisons: every value of every round.

Owns the form of the file. Names no machine, user or path.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures.base import Metric
from bench.results import Found, Results
from bench.stats import Spread, ratios, spread


def write(results: Results, path: Path) -> None:
    """Write the file."""
    path.write_text(json.dumps(document(results), indent=1, ensure_ascii=False) + "\n")


def document(results: Results) -> dict[str, Any]:
    """Everything, as plain objects."""
    return {
        "about": dict(results.about),
        "rounds": results.rounds,
        "scale": asdict(results.scale),
        "remarks": results.remarks,
        "budgets": {verdict.value: count for verdict, count in results.count().items()},
        "figures": {found.figure.name: _figure(results, found) for found in results.found},
    }


def _figure(results: Results, found: Found) -> dict[str, Any]:
    return {
        "metrics": {metric.key: _metric(results, found, metric) for metric in found.figure.metrics},
        "seconds": round(found.seconds, 1),
        "not available": found.absent,
        "failed": found.wrong,
    }


def _metric(results: Results, found: Found, metric: Metric) -> dict[str, Any]:
    rows = found.rows(metric)
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
            for budget, verdict, measured in found.verdicts(metric)
        ],
        "notes": found.notes(metric),
    }


def _spread(found: Spread | None) -> dict[str, float] | None:
    return asdict(found) if found else None
