"""Latency: from the moment a reaction is sent to the moment another browser has the counts that include it.

Every pair of a reaction and a watcher of its item is a sample. On one item the last watcher waits for the
whole sweep; over many items each update has few to reach. The clock is the load program's, which shares the
machine with the server.
"""

from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS, TWO_WORKERS, react
from bench.errors import Wrong
from bench.figures.base import (
    MEASURE,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    exchange,
    open_senders,
    open_watchers,
)
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import settle

RATE = 200
VISITORS = 50
ITEMS = 100
POINTS = ("p50", "p90", "p99", "p99.9", "max")
BUDGETS = (Budget(2.0, of="p50"), Budget(10.0, of="p99"))


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """All watchers on one item, then spread over many."""
    sample = Sample()
    with contender.start(folder, VISITORS) as running, Load(running.port) as load:
        open_senders(load, contender, running, VISITORS)
        exchange(load, contender.dialect, 20 * VISITORS, react("warm"), 1)
        for metric, items in (("one", 1), ("many", ITEMS)):
            open_watchers(load, contender.dialect, scale.watchers, items, place=metric)
            settle(running.processes)
            yield MEASURE
            sample.values[metric] = _run(load, contender, scale, metric, items)
            load.close(WATCHERS)
    return sample


def _run(load: Load, contender: Contender, scale: Scale, place: str, items: int) -> dict[str, float]:
    answer = load.tell(
        "rate",
        rate=RATE,
        seconds=scale.seconds,
        items=items,
        latency=1,
        message=react(place),
        reply=contender.dialect.reply,
        update=contender.dialect.match,
    )
    if answer["missing"] or answer["backwards"] or not answer["samples"]:
        raise Wrong(
            f"{answer['missing']:,} reactions were never shown, {answer['backwards']:,} updates stepped back"
        )
    return {point: answer[point] / 1000 for point in POINTS}


FROM_TO = "from a reaction to another watcher's frame, 200 reactions/s, {watchers:,} watchers of one item"


def _figure(name: str, contender: Contender, before: str) -> Figure:
    def metric(key: str, title: str, short: str) -> Metric:
        rows = {point: point for point in POINTS}
        return Metric(key, before + title, before + short, "ms", rows, BUDGETS, ratios=False)

    return Figure(
        name,
        (
            metric("one", FROM_TO, "latency, one item"),
            metric("many", "the same, {watchers:,} watchers over 100 items", "latency, many items"),
        ),
        (contender,),
        measure,
    )


FIGURE = _figure("latency", OURS, "")
TWO = _figure("latency-2", TWO_WORKERS, "2 workers: ")
