"""CPU time of two workers compared with one, and how connections are distributed between them.

CPU time is that of all workers together. Each worker receives every update from the engine, and every count
is exact: each watcher gets each update once, and the store counts every visitor once.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST, TWO_WORKERS
from bench.figures.base import MEASURE, MICRO, Figure, Metric, Sample, Scale, Steps
from bench.figures.rig import Rig, passes, rig
from bench.usage import open_files

ONE_WORKER = replace(TALLYCAST, key="one", label="1 worker")
TWO = replace(TWO_WORKERS, key="ours")
BOTH = (TWO, ONE_WORKER)
PREFIX = "hot"


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure one number of workers."""
    sample = Sample()
    with rig(contender, folder, scale.visitors) as bench:
        bench.wait_until_idle()
        yield MEASURE
        shares = _open_watchers(bench, scale)
        if len(shares) > 1:
            sample.values["share"] = {"most": 100 * max(shares) / scale.sockets}
            sample.note("share", "{:.0f} connections at the worker that has fewer", min(shares))
        used = yield from passes(scale.passes, lambda: bench.broadcast_cpu(scale, 1, scale.sockets))
        updates = scale.passes * scale.broadcasts * scale.sockets
        sample.values["fanout"] = {contender.key: _workers(used) / updates * MICRO}
        bench.close_watchers()
        used = yield from passes(scale.passes, lambda: bench.exchange_cpu(scale, PREFIX))
        reactions = scale.passes * scale.reactions
        sample.values["reaction"] = {contender.key: _workers(used) / reactions * MICRO}
        sample.values["engine"] = {contender.key: used["engine"] / reactions * MICRO}
        bench.check_store(PREFIX, scale.visitors)
    return sample


def _open_watchers(bench: Rig, scale: Scale) -> list[int]:
    """Open all watchers at once, and return how many each worker accepted."""
    pids = [pid for name, pid in bench.processes.items() if name.startswith("server")]
    before = [open_files(pid) for pid in pids]
    bench.open_watchers(scale.sockets)
    bench.wait_until_idle()
    return [open_files(pid) - files for pid, files in zip(pids, before, strict=True)]


def _workers(used: Mapping[str, float]) -> float:
    return sum(seconds for name, seconds in used.items() if name.startswith("server"))


def _metric(key: str, title: str, short: str) -> Metric:
    return Metric(key, title, short, "µs", {"ours": "2 workers", "one": "1 worker"})


FIGURE = Figure(
    "workers",
    (
        Metric(
            "share",
            "2 workers, {sockets:,} connections opened at once: the share of the busier worker",
            "2 workers, busier one's share",
            "%",
            {"most": "busier worker"},
            of="most",
            ratios=False,
        ),
        _metric("fanout", "2 workers: CPU of both per delivered update", "2 workers, fan-out"),
        _metric("reaction", "2 workers: CPU of both per reaction on one hot item", "2 workers, reaction"),
        _metric("engine", "the same: engine CPU", "2 workers, engine"),
    ),
    BOTH,
    measure,
)
