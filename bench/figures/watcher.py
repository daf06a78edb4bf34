"""CPU time and memory of a watcher of the load-test harness, for each update that it receives.

The harness shares a machine with what it tests, or fills one of its own. A bare recv() loop in C on the same
connections shows how much of the cost is the kernel's.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps
from bench.programs import program
from bench.stats import Budget

TIMEOUT = 120.0  # s
# It measures itself, without a server.
HARNESS = replace(TALLYCAST, label="tallycast load")
ROWS = {"ours": "tallycast load", "bare": "bare C recv() loop"}


def measure(_: Contender, scale: Scale, __: Path) -> Steps:
    """Measure one process of the harness, and the recv() loop in turn with it."""
    program("recv_loop")  # Unavailable without a compiler.
    yield MEASURE
    command = [sys.executable, "-m", "bench.harness.cost", str(scale.sockets), str(scale.passes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise InvalidMeasurementError(f"the measurement of the harness failed: {done.stderr}")
    cost = json.loads(done.stdout)
    sample = Sample()
    for row in ROWS:
        user, system = cost[row]
        sample.values.setdefault("own", {})[row] = user
        sample.values.setdefault("all", {})[row] = user + system
    sample.note("all", "{:.2f} µs of it the kernel's, of the harness", cost["ours"][1])
    sample.note("all", "{:.2f} µs of it the kernel's, of the bare loop", cost["bare"][1])
    sample.values["memory"] = {"ours": cost["memory"] / 1024}
    return sample


FIGURE = Figure(
    "watcher",
    (
        Metric(
            "own",
            "load-test harness: CPU of its own code per update received, {sockets:,} watchers",
            "harness: own code, an update",
            "µs",
            ROWS,
            (Budget(3.0),),
        ),
        Metric(
            "all",
            "the same with the kernel's share",
            "harness: with the kernel, an update",
            "µs",
            ROWS,
        ),
        Metric(
            "memory",
            "load-test harness: memory of a watcher",
            "harness: memory",
            "KiB",
            {"ours": ROWS["ours"]},
            (Budget(6.0),),
            ratios=False,
        ),
    ),
    (HARNESS,),
    measure,
)
