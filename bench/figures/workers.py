"""Two workers beside one: what serving from two processes costs, and how connections fall to them.

CPU is that of all workers together. Every update is taken by each worker from the engine, and every count is
exact: each watcher gets each update once, and the store counts every visitor once.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender, Running
from bench.contenders.ours import OURS, TWO_WORKERS, react
from bench.figures.base import (
    MEASURE,
    MICRO,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    broadcast,
    check_broadcast,
    check_store,
    exchange,
    open_senders,
    open_watchers,
)
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import metered, open_files, settle

ONE_WORKER = replace(OURS, key="one", label="1 worker")
TWO = replace(TWO_WORKERS, key="ours")
BOTH = (TWO, ONE_WORKER)
PLACE = "hot"


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One number of workers."""
    sample, dialect = Sample(), contender.dialect
    with contender.start(folder, scale.visitors) as running, Load(running.port) as load:
        open_senders(load, contender, running, scale.visitors)
        settle(running.processes)
        yield MEASURE
        shares = _open(load, contender, running, scale)
        if len(shares) > 1:
            sample.values["share"] = {"most": 100 * max(shares) / scale.sockets}
            sample.note("share", "{:.0f} connections at the worker that has fewer", min(shares))
        used: Counter[str] = Counter()
        for _ in range(scale.passes):
            yield MEASURE
            broadcast(load, dialect, 1, 1)
            with metered(running.processes) as part:
                broadcast(load, dialect, scale.broadcasts, 1)
            check_broadcast(load, dialect, scale.broadcasts, scale.sockets)
            used.update(part)
        updates = scale.passes * scale.broadcasts * scale.sockets
        sample.values["fanout"] = {contender.key: _workers(used) / updates * MICRO}
        load.close(WATCHERS)
        used.clear()
        for _ in range(scale.passes):
            yield MEASURE
            exchange(load, dialect, scale.reactions // 4, react(PLACE), 1)
            with metered(running.processes) as part:
                exchange(load, dialect, scale.reactions, react(PLACE), 1)
            used.update(part)
        reactions = scale.passes * scale.reactions
        sample.values["reaction"] = {contender.key: _workers(used) / reactions * MICRO}
        sample.values["engine"] = {contender.key: used["engine"] / reactions * MICRO}
        check_store(running.port, PLACE, scale.visitors)
    return sample


def _open(load: Load, contender: Contender, running: Running, scale: Scale) -> list[int]:
    """Open all watchers at once; how many each worker took."""
    pids = [pid for name, pid in running.processes.items() if name.startswith("server")]
    before = [open_files(pid) for pid in pids]
    open_watchers(load, contender.dialect, scale.sockets)
    settle(running.processes)
    return [open_files(pid) - files for pid, files in zip(pids, before, strict=True)]


def _workers(used: Mapping[str, float]) -> float:
    return sum(seconds for name, seconds in used.items() if name.startswith("server"))


def _metric(key: str, title: str, short: str, limit: float | None) -> Metric:
    budgets = () if limit is None else (Budget(limit, over="one"),)
    return Metric(key, title, short, "µs", {"ours": "2 workers", "one": "1 worker"}, budgets)


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
        _metric("fanout", "2 workers: CPU of both per delivered update", "2 workers, fan-out", None),
        _metric(
            "reaction", "2 workers: CPU of both per reaction on one hot item", "2 workers, reaction", None
        ),
        _metric("engine", "the same: engine CPU", "2 workers, engine", None),
    ),
    BOTH,
    measure,
)
