"""A figure that is made up, for tests of how figures run and are shown."""

from pathlib import Path

from bench.contenders.base import Contender
from bench.errors import InvalidMeasurementError, UnavailableError
from bench.figures.base import MEASURE, Metric, Sample, Scale, Steps
from bench.stats import Budget

METRIC = Metric(
    "cost",
    "cost of {sockets:,} sockets",
    "cost",
    "µs",
    {"ours": "Tallycast", "fast": "a fast one", "slow": "a slow one", "gone": "a <lost> one"},
    (Budget(1.0, over="fast"), Budget(1.0, over="slow"), Budget(1.0, over="gone")),
)


COSTS = {"ours": 2.0, "fast": 1.0, "slow": 4.0}


def measured(contender: Contender, _: Scale, __: Path) -> Steps:
    yield MEASURE
    if contender.key == "gone":
        raise UnavailableError("gone is not installed")
    if contender.key == "wrong":
        raise InvalidMeasurementError("3 updates instead of 4")
    sample = Sample({"cost": {contender.key: COSTS[contender.key]}})
    sample.note("cost", "{:.1f} of it for nothing", 0.5)
    return sample
