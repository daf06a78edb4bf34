"""CPU time of the server for each accepted connection when all open at once, as after a restart.

Measured from the TCP connection to the last message of the set-up: for python-socketio that includes its own
handshake, for Tallycast the watch of an item and its snapshot, which a bare handshake does not have. Closing
is not included.
"""

from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.peers import PEERS
from bench.contenders.tallycast import TALLYCAST
from bench.figures.base import MEASURE, MICRO, Figure, Metric, Sample, Scale, Steps, contender_rows
from bench.figures.rig import rig
from bench.stats import Budget
from bench.usage import cpu_used

ALL = (TALLYCAST, *PEERS)
WARM_UP = 200  # connections


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure one contender, with its code warm."""
    sample = Sample()
    with rig(contender, folder) as bench:
        bench.open_watchers(WARM_UP)
        bench.close_watchers()
        bench.wait_until_idle()
        yield MEASURE
        with cpu_used(bench.processes) as used:
            bench.open_watchers(scale.sockets)
            bench.wait_until_idle()
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
            contender_rows(ALL),
            (Budget(1.5, over="websockets"),),
        ),
    ),
    ALL,
    measure,
)
