"""Resident memory of the server for each idle connection; Tallycast's watches one item, unauthenticated.

What the first few connections leave behind (code paths, allocator arenas) is there before the count begins.
The kernel's memory for sockets is not included.
"""

import time
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.peers import PEERS
from bench.contenders.tallycast import TALLYCAST
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps, contender_rows
from bench.figures.rig import rig
from bench.stats import Budget
from bench.usage import resident_memory

ALL = (TALLYCAST, *PEERS)
WARM_UP = 50  # connections
# Set up at a time: the figure is about idle connections, not about a rush.
CONCURRENCY = 250
# Some contenders free the memory of a handshake only when a timer runs (s).
REST = 0.5


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure the growth of one contender over all connections."""
    sample = Sample()
    with rig(contender, folder) as bench:
        bench.open_watchers(WARM_UP)
        bench.close_watchers()
        bench.wait_until_idle()
        before = {name: resident_memory(pid) for name, pid in bench.processes.items()}
        bench.open_watchers(scale.idle, concurrency=CONCURRENCY)
        bench.wait_until_idle()
        time.sleep(REST)
        grown = {name: resident_memory(pid) - before[name] for name, pid in bench.processes.items()}
        bench.load.run("collect", seconds=0)  # Fails when connections were closed meanwhile.
    sample.values["idle"] = {contender.key: grown["server"] / 1024 / scale.idle}
    if "engine" in grown:
        sample.note("idle", "our engine grew by {:.0f} KiB in all", grown["engine"] / 1024)
    # All of it was a set-up: others do not change how much memory is held.
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
            contender_rows(ALL),
            (Budget(4.0),),
        ),
    ),
    ALL,
    measure,
)
