"""Responsiveness: how long another client's ping waits while a great crowd is being swept.

The pings come from a load program of their own, on schedule, whether the one before was answered or not; each
is timed from when it was due. Both programs share the machine with the server, so the same pings without any
sweep stand beside.
"""

import time
from contextlib import AbstractContextManager
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS
from bench.errors import Wrong
from bench.figures.base import (
    MEASURE,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    broadcast,
    check_broadcast,
    open_senders,
    open_watchers,
)
from bench.load import Load
from bench.stats import Budget
from bench.usage import metered, settle

EVERY = 0.002
STILL = 1.0
WINDOW = 250
POINTS = ("p50", "p99", "max")
LIMIT = 20.0


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Pings beside sweeps, and without."""
    sample, dialect = Sample(), contender.dialect
    with (
        contender.start(folder, 1) as running,
        Load(running.port) as load,
        Load(running.port) as pinger,
    ):
        open_senders(load, contender, running, 1)
        open_senders(pinger, contender, running, 1)
        open_watchers(load, dialect, scale.crowd, window=WINDOW)
        settle(running.processes)
        yield MEASURE
        with _pings(pinger) as found:
            time.sleep(STILL)
        sample.values["still"] = _points(found)
        started = time.monotonic()
        with metered(running.processes) as used, _pings(pinger) as found:
            broadcast(load, dialect, scale.sweeps, 1)
        took = (time.monotonic() - started) / scale.sweeps
        check_broadcast(load, dialect, scale.sweeps, scale.crowd)
        sample.values["swept"] = _points(found)
        sample.note("swept", "{:.0f} pings", found["sent"])
        sample.note("swept", "{:.0f} ms from one trigger to the next, rests included", took * 1000)
        sample.note("swept", "{:.0f} ms of the server's CPU a sweep", used["server"] / scale.sweeps * 1000)
    return sample


def _pings(pinger: Load) -> AbstractContextManager[dict[str, float]]:
    return pinger.meanwhile("ping", every=EVERY, message='{"type":"ping","ref":$N}', reply='{"type":"pong"')


def _points(found: dict[str, float]) -> dict[str, float]:
    if "max" not in found:
        raise Wrong(f"{found['replies']:,} of {found['sent']:,} pings were answered")
    return {point: found[point] * 1000 for point in POINTS}


FIGURE = Figure(
    "ping",
    (
        Metric(
            "swept",
            "another client's ping while {crowd:,} sockets are swept, {sweeps} times",
            "ping during sweeps",
            "ms",
            {point: point for point in POINTS},
            (Budget(LIMIT, of="p99"), Budget(LIMIT, of="max")),
            of="max",
            ratios=False,
        ),
        Metric(
            "still",
            "the same pings, with {crowd:,} sockets and no sweep",
            "ping without a sweep",
            "ms",
            {point: point for point in POINTS},
            of="max",
            ratios=False,
        ),
    ),
    (OURS,),
    measure,
    enough=1,
)
