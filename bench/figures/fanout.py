"""Fan-out: server CPU for each update that reaches a socket.

A broadcast is triggered when the last socket has the one before it, so that nothing can be conflated and
every contender delivers the same number of frames of the same size. Ours is triggered by a real reaction,
whose own cost is included; how much that is, is measured with the same reactions while nobody watches.
"""

from collections import Counter
from pathlib import Path

from bench.contenders.base import Contender, Running
from bench.contenders.ours import OURS
from bench.contenders.peers import PEERS
from bench.figures.base import (
    MEASURE,
    MICRO,
    SET_UP,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    broadcast,
    check_broadcast,
    open_senders,
    open_watchers,
    rows_of,
)
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import metered, settle

ALL = (OURS, *PEERS)


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One contender, on one item and on many."""
    sample = Sample()
    passes = 1 if contender.heavy else scale.passes
    updates = passes * scale.broadcasts * scale.sockets
    places = (("one", 1), ("many", scale.items))
    with contender.start(folder, 1) as running, Load(running.port) as load:
        open_senders(load, contender, running, 1)
        for metric, items in places:
            if metric != "one":
                yield SET_UP
            open_watchers(load, contender.dialect, scale.sockets, items)
            settle(running.processes)
            used: Counter[str] = Counter()
            for _ in range(passes):
                yield MEASURE
                used.update(_cost(load, contender, running, scale, items, scale.sockets))
            cost = {name: micro / updates for name, micro in used.items()}
            sample.values[metric] = {contender.key: cost["server"]}
            if "engine" in cost:
                sample.note(metric, "our engine: {:.2f} µs an update", cost["engine"])
                sample.note(metric, "our supervisor: {:.3f} µs an update", cost["supervisor"])
                sample.note(metric, "the load program: {:.2f} µs an update", cost["load"])
        if contender.dialect.reply:
            load.close(WATCHERS)
            for metric, items in places:
                alone = _cost(load, contender, running, scale, items, 0)["server"]
                share = alone / (scale.broadcasts * scale.sockets)
                sample.note(metric, "of ours, {:.2f} µs are the reactions themselves", share)
    return sample


def _cost(
    load: Load, contender: Contender, running: Running, scale: Scale, items: int, watchers: int
) -> dict[str, float]:
    """Microseconds of each process for a pass."""
    broadcast(load, contender.dialect, 1, items)  # After the others' turn, caches hold what is theirs.
    with metered({**running.processes, "load": load.pid}) as used:
        broadcast(load, contender.dialect, scale.broadcasts, items)
    check_broadcast(load, contender.dialect, scale.broadcasts, watchers)
    return {name: seconds * MICRO for name, seconds in used.items()}


BUDGETS = (Budget(1.3, over="floor"), Budget(1.3, over="socketify"), Budget(0.7, over="websockets"))

FIGURE = Figure(
    "fanout",
    (
        Metric(
            "one",
            "fan-out: server CPU per delivered update, {sockets:,} sockets on one item",
            "fan-out",
            "µs",
            rows_of(ALL),
            BUDGETS,
        ),
        Metric(
            "many",
            "fan-out: the same, {sockets:,} sockets over {items:,} items",
            "fan-out, many items",
            "µs",
            rows_of(ALL),
        ),
    ),
    ALL,
    measure,
)
