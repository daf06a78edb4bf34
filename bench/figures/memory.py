"""Resident memory of the server for each idle connection; ours watches one item, anonymously.

What a first few connections leave behind (code paths, allocator arenas) is there before the count begins. The
kernel's own memory for sockets is nobody's and in no figure.
"""

import time
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS
from bench.contenders.peers import PEERS
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps, open_watchers, rows_of
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import resident, settle

ALL = (OURS, *PEERS)
FIRST = 50
# Connections on their way at a time: the figure is of being connected, not of a rush.
WINDOW = 250
# Some let go of what a handshake needed only when a timer runs.
REST = 0.5


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One contender's growth over all connections."""
    sample = Sample()
    with contender.start(folder, 0) as running, Load(running.port) as load:
        open_watchers(load, contender.dialect, FIRST)
        load.close(WATCHERS)
        settle(running.processes)
        before = {name: resident(pid) for name, pid in running.processes.items()}
        open_watchers(load, contender.dialect, scale.idle, window=WINDOW)
        settle(running.processes)
        time.sleep(REST)
        grown = {name: (resident(pid) - before[name]) / 1024 for name, pid in running.processes.items()}
        # Asks the load too: a connection that was closed meanwhile holds no memory.
        load.tell("closed", total=0, message="-")
    sample.values["idle"] = {contender.key: grown["server"] / scale.idle}
    if "engine" in grown:
        sample.note("idle", "our engine grew by {:.0f} KiB in all", grown["engine"])
    # All of it was a set-up: what others do meanwhile does not change how much memory is held.
    yield MEASURE
    return sample


FIGURE = Figure(
    "memory",
    (
        Metric(
            "idle",
            "idle connection: resident memory of the server, over {idle:,} connections",
            "idle connection",
            "KiB",
            rows_of(ALL),
            (Budget(4.0),),
        ),
    ),
    ALL,
    measure,
)
