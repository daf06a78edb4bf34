"""Responsiveness: how long another client's ping waits while a great crowd is being swept.

The pings come from a load program of their own, on schedule, from several connections in turn, whether the
one before was answered or not; each is timed from when it was due. Both programs share the machine with the
server, so the same pings without any sweep stand beside.
"""

import time
from contextlib import AbstractContextManager
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS, TWO_WORKERS
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
# So many that every worker has some.
PINGERS = 16
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
        open_senders(pinger, contender, running, PINGERS)
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


def _figure(name: str, contender: Contender, before: str) -> Figure:
    rows = {point: point for point in POINTS}
    return Figure(
        name,
        (
            Metric(
                "swept",
                before + "another client's ping while {crowd:,} sockets are swept, {sweeps} times",
                before + "ping during sweeps",
                "ms",
                rows,
                (Budget(LIMIT, of="p99"), Budget(LIMIT, of="max")),
                of="max",
                ratios=False,
            ),
            Metric(
                "still",
                before + "the same pings, with {crowd:,} sockets and no sweep",
                before + "ping without a sweep",
                "ms",
                rows,
                of="max",
                ratios=False,
            ),
        ),
        (contender,),
        measure,
        enough=1,
    )


FIGURE = _figure("ping", OURS, "")
TWO = _figure("ping-2", TWO_WORKERS, "2 workers: ")
