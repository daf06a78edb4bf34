"""A durable, deduplicated, published, acknowledged reaction, against an echo of the same bytes.

Every visitor has a connection of its own and one unanswered message; every reaction changes something. Nobody
watches while the figure is taken, so that it is the write path alone; what one watcher of every item adds is
a line of its own. Afterwards the store is asked: every visitor must count once.
"""

import json
from collections import Counter
from collections.abc import Generator
from pathlib import Path

from bench.contenders.base import Contender, Running
from bench.contenders.ours import OURS, react
from bench.contenders.peers import ECHO
from bench.figures.base import (
    MEASURE,
    MICRO,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    check_store,
    exchange,
    open_senders,
    rows_of,
)
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import metered

BOTH = (OURS, ECHO)
WATCH_AT_ONCE = 100


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One contender, on one item and over many."""
    sample = Sample()
    with contender.start(folder, scale.visitors) as running, Load(running.port) as load:
        open_senders(load, contender, running, scale.visitors)
        for place, items in (("hot", 1), ("many", scale.catalogue)):
            used = yield from _cost(load, contender, running, scale, place, items, scale.passes)
            sample.values[f"{place}.server"] = {contender.key: used["server"]}
            sample.values[f"{place}.engine"] = {contender.key: used.get("engine", used["server"])}
            if "engine" in used:
                _watch_all(load, contender, place, items)
                watched = yield from _cost(load, contender, running, scale, place, items, 1)
                load.close(WATCHERS)
                for part in ("server", "engine"):
                    sample.note(f"{place}.{part}", "with one watcher of every item: {:.1f} µs", watched[part])
                sample.note(f"{place}.server", "our supervisor: {:.2f} µs", used["supervisor"])
        if "engine" in running.processes:
            check_store(running.port, "hot", scale.visitors)
    return sample


def _cost(
    load: Load,
    contender: Contender,
    running: Running,
    scale: Scale,
    place: str,
    items: int,
    passes: int,
) -> Generator[str, None, dict[str, float]]:
    """Microseconds of each process for one reaction."""
    used: Counter[str] = Counter()
    for _ in range(passes):
        yield MEASURE
        exchange(load, contender.dialect, scale.reactions // 4, react(place), items)
        with metered(running.processes) as part:
            exchange(load, contender.dialect, scale.reactions, react(place), items)
        used.update(part)
    return {name: seconds / (passes * scale.reactions) * MICRO for name, seconds in used.items()}


def _watch_all(load: Load, contender: Contender, place: str, items: int) -> None:
    names = [f"{place}-{number:03d}" for number in range(items)]
    messages = [
        json.dumps({"type": "watch", "items": names[at : at + WATCH_AT_ONCE]}, separators=(",", ":"))
        for at in range(0, items, WATCH_AT_ONCE)
    ]
    dialect = contender.dialect
    load.open(
        WATCHERS,
        1,
        path=dialect.plain,
        protocol=dialect.protocol,
        hellos=[messages],
        ready='{"type":"watching"',
        greetings=len(messages),
    )


def _metric(key: str, title: str, short: str, limit: float) -> Metric:
    return Metric(key, title, short, "µs", rows_of(BOTH), (Budget(limit, over=ECHO.key),))


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
