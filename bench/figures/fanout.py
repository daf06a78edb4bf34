"""CPU time of the server for each update delivered to a socket.

A broadcast is triggered when the last socket has the one before, so that nothing can be conflated and every
contender delivers the same number of frames of the same size. Tallycast is triggered by a real reaction,
whose cost is included; how much that is, is measured with the same reactions and no watchers.
"""

from functools import partial
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.peers import PEERS
from bench.contenders.tallycast import TALLYCAST
from bench.figures.base import MICRO, SET_UP, Figure, Metric, Sample, Scale, Steps, contender_rows
from bench.figures.rig import passes, rig
from bench.stats import Budget

ALL = (TALLYCAST, *PEERS)


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure one contender, on one item and on many."""
    sample = Sample()
    count = 1 if contender.heavy else scale.passes
    broadcasts = scale.broadcasts * scale.sockets
    metrics = {"one": 1, "many": scale.items}
    with rig(contender, folder, 1) as bench:
        for metric, items in metrics.items():
            if metric != "one":
                yield SET_UP
            bench.open_watchers(scale.sockets, items)
            bench.wait_until_idle()
            used = yield from passes(count, partial(bench.broadcast_cpu, scale, items, scale.sockets))
            cost = {name: seconds / (count * broadcasts) * MICRO for name, seconds in used.items()}
            sample.values[metric] = {contender.key: cost["server"]}
            if "engine" in cost:
                sample.note(metric, "our engine: {:.2f} µs an update", cost["engine"])
                sample.note(metric, "our supervisor: {:.3f} µs an update", cost["supervisor"])
                sample.note(metric, "the load generator: {:.2f} µs an update", cost["load"])
        if contender.dialect.reply:
            bench.close_watchers()
            for metric, items in metrics.items():
                alone = bench.broadcast_cpu(scale, items, 0)["server"] / broadcasts * MICRO
                sample.note(metric, "of ours, {:.2f} µs are the reactions themselves", alone)
    return sample


BUDGETS = (Budget(1.3, over="floor"), Budget(1.3, over="socketify"), Budget(0.7, over="websockets"))

FIGURE = Figure(
    "fanout",
    (
        Metric(
            "one",
            "fan-out: server CPU per delivered update, {sockets:,} sockets on one item",
            "fan-out",
            "µs",
            contender_rows(ALL),
            BUDGETS,
        ),
        Metric(
            "many",
            "fan-out: the same, {sockets:,} sockets over {items:,} items",
            "fan-out, many items",
            "µs",
            contender_rows(ALL),
        ),
    ),
    ALL,
    measure,
)
