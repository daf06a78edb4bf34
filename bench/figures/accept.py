"""Accept cost: server CPU for each connection when all open at once, as after a restart.

From the TCP connection to the last word of the greeting: for python-socketio that is its own handshake on
top, for ours the watch of an item and its snapshot, which a bare handshake does not have. Tearing down is not
part of it.
"""

from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS
from bench.contenders.peers import PEERS
from bench.figures.base import MEASURE, MICRO, Figure, Metric, Sample, Scale, Steps, open_watchers, rows_of
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import metered, settle

ALL = (OURS, *PEERS)
FIRST = 200


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One contender, with its code warm."""
    sample = Sample()
    with contender.start(folder, 0) as running, Load(running.port) as load:
        open_watchers(load, contender.dialect, FIRST)
        load.close(WATCHERS)
        settle(running.processes)
        yield MEASURE
        with metered(running.processes) as used:
            open_watchers(load, contender.dialect, scale.sockets)
            settle(running.processes)
    sample.values["accept"] = {contender.key: used["server"] / scale.sockets * MICRO}
    if "engine" in used:
        sample.note("accept", "our engine: {:.1f} µs a connection", used["engine"] / scale.sockets * MICRO)
    return sample


FIGURE = Figure(
    "accept",
    (
        Metric(
            "accept",
            "accept: server CPU per connection, {sockets:,} opened at once",
            "accept",
            "µs",
            rows_of(ALL),
            (Budget(1.5, over="websockets"),),
        ),
    ),
    ALL,
    measure,
)
