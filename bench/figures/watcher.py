"""What a watcher costs the load-test harness: CPU for each update that it receives, and memory.

The harness shares a machine with what it tests, or fills one of its own. Beside it stands a bare recv() loop
in C on the very same connections, which shows how much of the cost is the kernel's, whoever reads.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS
from bench.errors import Wrong
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps
from bench.programs import program
from bench.stats import Budget

WITHIN = 120.0
# It measures itself, whatever server there is.
HARNESS = replace(OURS, label="tallycast load")
ROWS = {"ours": "tallycast load", "bare": "bare C recv() loop"}


def measure(_: Contender, scale: Scale, __: Path) -> Steps:
    """One process of the harness, and the bare loop in turn with it."""
    program("drain")  # Said now when there is no compiler.
    yield MEASURE
    command = [sys.executable, "-m", "bench.generator", str(scale.sockets), str(scale.passes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)
    if done.returncode:
        raise Wrong(f"the generator failed: {done.stderr}")
    found = json.loads(done.stdout)
    sample = Sample()
    for row in ROWS:
        own, system = found[row]
        sample.values.setdefault("own", {})[row] = own
        sample.values.setdefault("all", {})[row] = own + system
    sample.note("all", "{:.2f} µs of it the kernel's, of the harness", found["ours"][1])
    sample.note("all", "{:.2f} µs of it the kernel's, of the bare loop", found["bare"][1])
    sample.values["memory"] = {"ours": found["memory"] / 1024}
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
