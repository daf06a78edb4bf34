"""The effect of fifty watchers that never read on the others, and how the server treats them.

The same reactions to one item twice, each on a server of its own: all watchers read, and fifty of them never
do. The item's name is long and the fifty have small buffers, so that the kernel's buffers are soon full. One
more watcher stops reading for half of the time.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps
from bench.figures.rig import Rig, check_shown, rig
from bench.load.generator import RETURNING, STALLED
from bench.stats import Budget
from bench.usage import connections, resident_memory

RATE, VISITORS = 2000, 256
ITEM = "slow-" + "x" * 230
BUFFER = 4096  # bytes
STALL_TIMEOUT = 15.0  # s without a byte read, after which the server should close
CLOSE_TIMEOUT = 6.0  # s, for closing

ALL_READ = replace(TALLYCAST, key="all", label="all read")
SOME_STALLED = replace(TALLYCAST, label="some never read")


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure one of the two servers."""
    sample = Sample()
    stalled = scale.stalled if contender is SOME_STALLED else 0
    with rig(contender, folder, VISITORS) as bench:
        bench.exchange(20 * VISITORS, "warm")
        _open_watchers(bench, scale.watchers, stalled)
        bench.wait_until_idle()
        yield MEASURE
        before = resident_memory(bench.processes["server"])
        pause = {"pause_at": scale.stalled_seconds / 4, "resume_at": scale.stalled_seconds * 3 / 4}
        response = bench.react_at(RATE, scale.stalled_seconds, ITEM, latency=1, **(pause if stalled else {}))
        sample.values["memory"] = {
            contender.key: (resident_memory(bench.processes["server"]) - before) / 2**20
        }
        if stalled and scale.stalled_seconds > STALL_TIMEOUT:
            sample.values["fate"] = {"left": _count_left(bench, scale.watchers - stalled + VISITORS)}
        elif stalled:
            sample.note("fate", "not measured: that takes more than {:g} s of reactions", STALL_TIMEOUT)
    check_shown(response)
    for point in ("p50", "p99"):
        sample.values[point] = {contender.key: response[point] / 1000}
    if stalled:
        _add_catch_up(sample, scale, response)
    return sample


def _open_watchers(bench: Rig, count: int, stalled: int) -> None:
    """Open watchers of the item: ``stalled`` of them do not read, and one more returns."""
    bench.open_watchers(count - stalled - (1 if stalled else 0), prefix=ITEM)
    if stalled:
        bench.open_watchers(stalled, prefix=ITEM, group=STALLED, receive_buffer=BUFFER)
        bench.load.run("pause", group=STALLED)
        bench.open_watchers(1, prefix=ITEM, group=RETURNING, receive_buffer=BUFFER)


def _count_left(bench: Rig, others: int) -> int:
    """Return how many stalled connections are left, beside so many others, when their time is over."""
    deadline = time.monotonic() + CLOSE_TIMEOUT
    while (left := connections(bench.running.port) - others) > 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _add_catch_up(sample: Sample, scale: Scale, response: dict[str, Any]) -> None:
    if response["catch_up"] < 0:
        raise InvalidMeasurementError("the reader that came back was never shown the latest")
    sample.values["back"] = {"back": response["catch_up"] * 1000}
    sample.note(
        "back",
        f"{scale.stalled_seconds / 2:g} s away; " + "{:.0f} older updates came first, out of kernel buffers",
        response["outdated"],
    )


def _compared(key: str, title: str, short: str, unit: str, budget: Budget) -> Metric:
    rows = {"ours": "some never read", "all": "all read"}
    return Metric(key, title, f"slow readers, {short}", unit, rows, (budget,), ratios=budget.over is not None)


def _single(key: str, title: str, short: str, unit: str, row: tuple[str, str], limit: float) -> Metric:
    budgets = (Budget(limit, of=row[0]),)
    return Metric(key, title, short, unit, dict([row]), budgets, of=row[0], ratios=False)


FIGURE = Figure(
    "slow",
    (
        _compared(
            "p50",
            "{stalled} of {watchers:,} watchers never read, 2,000 reactions/s, "
            "{stalled_seconds:g} s: latency p50",
            "p50",
            "ms",
            Budget(1.3, over="all"),
        ),
        _compared("p99", "the same: latency p99 of those that read", "p99", "ms", Budget(1.3, over="all")),
        # Queues would hold some 30 MiB by then; the size of a heap varies by one or two.
        _compared("memory", "the same: how much the server grew", "memory", "MiB", Budget(4.0)),
        _single(
            "fate",
            "the same: of the {stalled} that never read, still connected 6 s later",
            "slow readers",
            "readers",
            ("left", "still connected"),
            0.0,
        ),
        _single(
            "back",
            "the same: one that comes back, until it shows the exact totals",
            "a reader that comes back",
            "ms",
            ("back", "until exact"),
            100.0,
        ),
    ),
    (SOME_STALLED, ALL_READ),
    measure,
    max_rounds=1,
)
