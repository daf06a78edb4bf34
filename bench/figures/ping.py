"""Latency of another client's ping while an update is sent to many sockets.

The pings come from a load generator of their own, on schedule, from several connections in turn, whether the
one before has its reply or not; each is timed from when it was due. Both generators share the machine with
the server, so the same pings without any sweep are measured too.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST, TWO_WORKERS
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps, point_rows
from bench.figures.rig import rig
from bench.load.generator import LoadGenerator
from bench.stats import Budget
from bench.usage import cpu_used

INTERVAL = 0.002  # s, from one ping to the next
PINGERS = 16  # connections; so many that every worker has some
STILL = 1.0  # s of pings without a sweep
CONCURRENCY = 250
POINTS = ("p50", "p99", "max")
LIMIT = 20.0  # ms


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure pings without sweeps, and during sweeps."""
    sample = Sample()
    with rig(contender, folder, 1) as bench, LoadGenerator(bench.running.port) as pinger:
        replace(bench, load=pinger).open_senders(PINGERS)
        bench.open_watchers(scale.crowd, concurrency=CONCURRENCY)
        bench.wait_until_idle()
        yield MEASURE
        with _pings(pinger) as response:
            time.sleep(STILL)
        sample.values["still"] = _points(response)
        started = time.monotonic()
        with cpu_used(bench.processes) as used, _pings(pinger) as response:
            bench.broadcast(scale.sweeps)
        interval = (time.monotonic() - started) / scale.sweeps
        bench.check_broadcast(scale.sweeps, scale.crowd)
    sample.values["swept"] = _points(response)
    sample.note("swept", "{:.0f} pings", response["sent"])
    sample.note("swept", "{:.0f} ms from one trigger to the next, rests included", interval * 1000)
    sample.note("swept", "{:.0f} ms of the server's CPU a sweep", used["server"] / scale.sweeps * 1000)
    return sample


def _pings(pinger: LoadGenerator) -> AbstractContextManager[dict[str, float]]:
    return pinger.running(
        "ping", interval=INTERVAL, message='{"type":"ping","ref":$N}', reply='{"type":"pong"'
    )


def _points(response: dict[str, float]) -> dict[str, float]:
    if "max" not in response:
        raise InvalidMeasurementError(f"{response['replies']:,} of {response['sent']:,} pings had a reply")
    return {point: response[point] * 1000 for point in POINTS}


def _figure(name: str, contender: Contender, label: str) -> Figure:
    def metric(key: str, title: str, short: str, *budgets: Budget) -> Metric:
        rows = point_rows(POINTS)
        return Metric(key, label + title, label + short, "ms", rows, budgets, of="max", ratios=False)

    return Figure(
        name,
        (
            metric(
                "swept",
                "another client's ping while {crowd:,} sockets are swept, {sweeps} times",
                "ping during sweeps",
                Budget(LIMIT, of="p99"),
                Budget(LIMIT, of="max"),
            ),
            metric("still", "the same pings, with {crowd:,} sockets and no sweep", "ping without a sweep"),
        ),
        (contender,),
        measure,
        max_rounds=1,
    )


FIGURE = _figure("ping", TALLYCAST, "")
TWO = _figure("ping-2", TWO_WORKERS, "2 workers: ")
