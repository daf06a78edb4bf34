"""CPU time of a durable, deduplicated, published, acknowledged reaction, and of an echo of the same bytes.

Every visitor has a connection of its own and one message in flight; every reaction changes something. There
are no watchers, so that it is the write path alone; what one watcher of every item adds is a line of its own.
Afterwards the store must count every visitor once.
"""

import json
from collections.abc import Generator
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.peers import ECHO
from bench.contenders.tallycast import TALLYCAST
from bench.figures.base import MICRO, Figure, Metric, Sample, Scale, Steps, contender_rows
from bench.figures.rig import Rig, passes, rig
from bench.load.generator import WATCHERS
from bench.stats import Budget

BOTH = (TALLYCAST, ECHO)
ITEMS_PER_WATCH = 100


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure one contender, on one item and over many."""
    sample = Sample()
    with rig(contender, folder, scale.visitors) as bench:
        for prefix, items in (("hot", 1), ("many", scale.catalogue)):
            cost = yield from _cost(bench, scale, prefix, items, scale.passes)
            sample.values[f"{prefix}.server"] = {contender.key: cost["server"]}
            sample.values[f"{prefix}.engine"] = {contender.key: cost.get("engine", cost["server"])}
            if "engine" in cost:
                _watch_all(bench, prefix, items)
                watched = yield from _cost(bench, scale, prefix, items, 1)
                bench.close_watchers()
                for name in ("server", "engine"):
                    sample.note(
                        f"{prefix}.{name}", "with one watcher of every item: {:.1f} µs", watched[name]
                    )
                sample.note(f"{prefix}.server", "our supervisor: {:.2f} µs", cost["supervisor"])
        if "engine" in bench.processes:
            bench.check_store("hot", scale.visitors)
    return sample


def _cost(
    bench: Rig, scale: Scale, prefix: str, items: int, count: int
) -> Generator[str, None, dict[str, float]]:
    """Return the CPU time of each process for one reaction (µs)."""
    used = yield from passes(count, lambda: bench.exchange_cpu(scale, prefix, items))
    return {name: seconds / (count * scale.reactions) * MICRO for name, seconds in used.items()}


def _watch_all(bench: Rig, prefix: str, items: int) -> None:
    """Open one connection that watches every item."""
    names = [f"{prefix}-{number:03d}" for number in range(items)]
    messages = [
        json.dumps({"type": "watch", "items": names[at : at + ITEMS_PER_WATCH]}, separators=(",", ":"))
        for at in range(0, items, ITEMS_PER_WATCH)
    ]
    bench.load.connect(
        WATCHERS,
        1,
        path=bench.dialect.plain_path,
        protocol=bench.dialect.protocol,
        first_messages=[messages],
        ready='{"type":"watching"',
        ready_count=len(messages),
    )


def _metric(key: str, title: str, short: str, limit: float) -> Metric:
    return Metric(key, title, short, "µs", contender_rows(BOTH), (Budget(limit, over=ECHO.key),))


FIGURE = Figure(
    "reaction",
    (
        _metric(
            "hot.server",
            "a reaction stored, synced and acknowledged, on one hot item: server CPU",
            "reaction, hot item, server",
            1.0,
        ),
        _metric("hot.engine", "the same: engine CPU", "reaction, hot item, engine", 0.6),
        _metric(
            "many.server",
            "a reaction over {catalogue:,} items: server CPU",
            "reaction, many items, server",
            1.3,
        ),
        _metric("many.engine", "the same: engine CPU", "reaction, many items, engine", 0.6),
    ),
    BOTH,
    measure,
)
