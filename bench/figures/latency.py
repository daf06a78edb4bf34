"""Latency from sending a reaction until another client has the counts that include it.

Every pair of a reaction and a watcher of its item is a sample. On one item the last watcher waits for the
whole sweep; over many items each update has few watchers. The clock is that of the load generator, which
shares the machine with the server.
"""

from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST, TWO_WORKERS
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps, point_rows
from bench.figures.rig import check_shown, rig
from bench.stats import Budget

RATE = 200  # reactions/s
VISITORS = 50
ITEMS = 100
POINTS = ("p50", "p90", "p99", "p99.9", "max")
BUDGETS = (Budget(2.0, of="p50"), Budget(10.0, of="p99"))


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure with all watchers on one item, then spread over many."""
    sample = Sample()
    with rig(contender, folder, VISITORS) as bench:
        bench.exchange(20 * VISITORS, "warm")
        for metric, items in (("one", 1), ("many", ITEMS)):
            bench.open_watchers(scale.watchers, items, prefix=metric)
            bench.wait_until_idle()
            yield MEASURE
            response = bench.react_at(RATE, scale.seconds, metric, items=items, latency=1)
            check_shown(response)
            if not response["samples"]:
                raise InvalidMeasurementError("no reaction was shown")
            sample.values[metric] = {point: response[point] / 1000 for point in POINTS}
            bench.close_watchers()
    return sample


TITLE = "from a reaction to another watcher's frame, 200 reactions/s, {watchers:,} watchers of one item"


def _figure(name: str, contender: Contender, label: str) -> Figure:
    def metric(key: str, title: str, short: str) -> Metric:
        return Metric(key, label + title, label + short, "ms", point_rows(POINTS), BUDGETS, ratios=False)

    return Figure(
        name,
        (
            metric("one", TITLE, "latency, one item"),
            metric("many", "the same, {watchers:,} watchers over 100 items", "latency, many items"),
        ),
        (contender,),
        measure,
    )


FIGURE = _figure("latency", TALLYCAST, "")
TWO = _figure("latency-2", TWO_WORKERS, "2 workers: ")
