"""The result as JSON: everything that the other reports show, for programs.

Owns the schema; times are in seconds. Does not depend on how a run proceeds.
"""

import platform
import time
from dataclasses import asdict
from typing import Any

import msgspec
from tallycast import __version__

from tallycast_load.coordinator.run import Result
from tallycast_load.plan.thresholds import DISTRIBUTIONS, POINTS
from tallycast_load.processes import machine
from tallycast_load.report import summary
from tallycast_load.verdict.verdict import ThresholdResult


def text(result: Result) -> str:
    """The result as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(as_data(result))).decode() + "\n"


def about(result: Result) -> dict[str, Any]:
    """Time, versions and machine of the run."""
    return {
        "tallycast": __version__,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result.begun)),
        "server": result.url,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": machine.cores(),
    }


def as_data(result: Result) -> dict[str, Any]:
    """The result as plain data."""
    verdict, totals = result.verdict, result.totals
    return {
        "about": about(result),
        "status": verdict.status,
        "verdict": verdict.heading,
        "partial": verdict.interrupted,
        "outcome": summary.outcome(result),
        "plan": {**result.plan.model_dump(mode="json", exclude={"threshold", "spread"}), **_as_text(result)},
        "measured_seconds": result.measured,
        "latencies": {name: _latencies(result, name) for name in DISTRIBUTIONS},
        "counters": {
            **{
                name: totals.count(name)
                for name in ("sent", "acked", "never sent", "cut off", "updates", "resets", "reconnects")
            },
            "errors": totals.errors(),
            "refused": dict(totals.counted("refused")),
            "closed": {str(code): number for code, number in totals.counted("closed").items()},
            "failures": dict(totals.counted("failures")),
        },
        "generator": {
            "processes": result.processes,
            "cpu": result.cpu,
            "late": list(summary.sent_late(result)),
        },
        "checks": [check._asdict() for check in verdict.checks],
        "complaints": verdict.complaints,
        "advice": summary.advice(result),
        "thresholds": [_threshold_result(one) for one in verdict.threshold_results],
        "steps": [
            {
                "rate": step.rate,
                "held": step.passed,
                "thresholds": [_threshold_result(one) for one in step.threshold_results],
            }
            for step in verdict.steps
        ],
        "moments": [asdict(moment) for moment in totals.moments],
        "metrics": [asdict(series) for series in result.metrics.series.values()] if result.metrics else [],
    }


def _as_text(result: Result) -> dict[str, Any]:
    return {
        "spread": str(result.plan.spread),
        "threshold": [threshold.text for threshold in result.plan.threshold],
        "visitors": result.plan.visitor_count,
    }


def _latencies(result: Result, name: str) -> dict[str, Any]:
    latencies = result.totals.all(name)
    return {
        "count": latencies.count,
        **latencies.points(POINTS),
        # The whole distribution, for HdrHistogram's tools.
        "hdr": latencies.encode().decode(),
    }


def _threshold_result(one: ThresholdResult) -> dict[str, Any]:
    return {"threshold": one.threshold.text, "value": one.value, "holds": one.holds}
