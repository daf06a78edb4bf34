"""Slow readers: what fifty watchers that never read cost the others, and what becomes of them.

The same reactions to one item twice, each on a server of its own: all watchers read, and fifty of them never
do. The item's name is long and the fifty have small buffers, so that the kernel's memory, which is nobody's
fault, is soon full. One more stops reading for half of the time and comes back.
"""

import time
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.ours import OURS, react
from bench.errors import Wrong
from bench.figures.base import (
    MEASURE,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    exchange,
    open_senders,
    open_watchers,
)
from bench.load import AWAY, STOPPED, Load
from bench.stats import Budget
from bench.usage import connections, resident, settle

RATE, VISITORS = 2000, 256
ITEM = "slow-" + "x" * 230
BUFFER = 4096
# A server should let go after 15 s without a byte taken; what a close takes comes on top (s).
STALL, AFTER = 15.0, 6.0

ALL_READ = replace(OURS, key="all", label="all read")
SOME_STOPPED = replace(OURS, label="some never read")


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """One server under the load."""
    sample, dialect = Sample(), contender.dialect
    stopped = scale.stopped if contender is SOME_STOPPED else 0
    away = 1 if stopped else 0
    with contender.start(folder, VISITORS) as running, Load(running.port) as load:
        open_senders(load, contender, running, VISITORS)
        exchange(load, dialect, 20 * VISITORS, react("warm"), 1)
        open_watchers(load, dialect, scale.watchers - stopped - away, place=ITEM)
        if stopped:
            open_watchers(load, dialect, stopped, place=ITEM, group=STOPPED, buffer=BUFFER)
            load.tell("pause", group=STOPPED)
            open_watchers(load, dialect, away, place=ITEM, group=AWAY, buffer=BUFFER)
        settle(running.processes)
        yield MEASURE
        server = running.processes["server"]
        memory = resident(server)
        answer = load.tell(
            "rate",
            rate=RATE,
            seconds=scale.endurance,
            latency=1,
            message=react(ITEM),
            reply=dialect.reply,
            update=dialect.match,
            **({"from": scale.endurance / 4, "until": scale.endurance * 3 / 4} if away else {}),
        )
        grown = resident(server) - memory
        if stopped and scale.endurance > STALL:
            left = _left(running.port, scale.watchers - stopped + VISITORS)
            sample.values["fate"] = {"left": left}
        elif stopped:
            sample.note("fate", "not measured: that takes more than {:g} s of reactions", STALL)
    if answer["missing"] or answer["backwards"] or answer["behind"]:
        raise Wrong(
            f"{answer['missing']:,} reactions were never shown, {answer['backwards']:,} updates stepped "
            f"back, {answer['behind']:,} watchers do not end with the latest"
        )
    for point in ("p50", "p99"):
        sample.values[point] = {contender.key: answer[point] / 1000}
    sample.values["memory"] = {contender.key: grown / 2**20}
    if stopped:
        _return(sample, scale, answer)
    return sample


def _left(port: int, others: int) -> int:
    """How many connections are left beside the others', when those that stopped have had their time."""
    deadline = time.monotonic() + AFTER
    while (left := connections(port) - others) > 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _return(sample: Sample, scale: Scale, answer: dict[str, float]) -> None:
    """What the one was shown that came back."""
    if answer["back"] < 0:
        raise Wrong("the reader that came back was never shown the latest")
    sample.values["back"] = {"back": answer["back"] * 1000}
    sample.note(
        "back",
        f"{scale.endurance / 2:g} s away; " + "{:.0f} older updates came first, out of kernel buffers",
        answer["stale"],
    )


def _latency(point: str, title: str) -> Metric:
    return Metric(
        point,
        title,
        f"slow readers, {point}",
        "ms",
        {"ours": "some never read", "all": "all read"},
        (Budget(1.3, over="all"),),
    )


FIGURE = Figure(
    "slow",
    (
        _latency(
            "p50",
            "{stopped} of {watchers:,} watchers never read, 2,000 reactions/s, {endurance:g} s: latency p50",
        ),
        _latency("p99", "the same: latency p99 of those that read"),
        Metric(
            "memory",
            "the same: how much the server grew",
            "slow readers, memory",
            "MiB",
            {"ours": "some never read", "all": "all read"},
            # Queues would hold some 30 MiB by then; a heap breathes by one or two.
            (Budget(4.0),),
            ratios=False,
        ),
        Metric(
            "fate",
            "the same: of the {stopped} that never read, still connected 6 s later",
            "slow readers",
            "readers",
            {"left": "still connected"},
            (Budget(0.0, of="left"),),
            of="left",
            ratios=False,
        ),
        Metric(
            "back",
            "the same: one that comes back, until it shows the exact totals",
            "a reader that comes back",
            "ms",
            {"back": "until exact"},
            (Budget(100.0, of="back"),),
            of="back",
            ratios=False,
        ),
    ),
    (SOME_STOPPED, ALL_READ),
    measure,
    enough=1,
)
