"""What the harness measures is what the fake server did, by its own clock.

The machine may be busy with other tests, so that delays are longer than the injected ones: the fake server
writes down when it answered, and the timeline says when each reaction was due.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tallycast_load.coordinator.run import Result
from tallycast_load.report import summary
from tallycast_load.verdict.verdict import INVALID, MISSED

from tests.load.fake import Fake, Faults
from tests.load.support import harness
from tests.support.processes import children
from tests.support.waiting import eventually

RATE = 60
EXACT = 0.02
EVERY = 0.01
OTHERS = 5
# Long, so that what a busy machine adds between the writing down and the reading is less than that (s).
USUAL, SELDOM, UPDATE, STALL = 2.0, 4.0, 2.0, 3.0
PLAN = {
    "connections": f"{OTHERS + 1}",
    "items": "1",
    "reactions": f"{RATE}/s",
    "duration": "4s",
    "warmup": "0s",
    "arrivals": "fixed",
}


@dataclass
class Measured:
    """A run, and what the server knows of it: when it acknowledged and published each reaction."""

    result: Result
    acked: dict[int, float]
    published: dict[int, float]

    def found(self, distribution: str, percentile: float) -> float:
        value = self.result.totals.all(distribution).at(percentile)
        assert value is not None
        return value

    def injected(self, distribution: str, percentile: float) -> float:
        """The percentile of what the server did, from when reactions were due, as far as it was measured."""
        answer, readers = (self.acked, 1) if distribution == "ack" else (self.published, OTHERS)
        measured = self.result.totals.all(distribution).count // readers
        start = self.result.start / 1e9
        # The first reaction is number 1, and was due at the start. The last frames may come after the end.
        done = sorted((at, number) for number, at in answer.items())[:measured]
        waited = sorted(at - start - (number - 1) / RATE for at, number in done)
        return waited[round(percentile / 100 * (len(waited) - 1))]


async def measure(faults: Callable[[], Faults], **flags: object) -> Measured:
    async with Fake(faults()) as fake:
        result = await harness(fake.url, **PLAN, **flags)
    return Measured(result, fake.acked, fake.published)


def stall() -> Faults:
    """A server that acknowledges nothing for a while after the first reaction."""
    clock = asyncio.get_running_loop().time
    end: list[float] = []

    def left(_: int) -> float:
        if not end:
            end.append(clock() + STALL)
        return max(0.0, end[0] - clock())

    return Faults(ack_delay=left)


async def lags(found: list[float]) -> None:
    """How late this loop is on this machine, again and again (s): no reader reads sooner than it may run."""
    while True:
        due = time.monotonic() + EVERY
        await asyncio.sleep(EVERY)
        found.append(time.monotonic() - due)


async def run_all() -> tuple[dict[str, Measured], float]:
    """Runs that only wait, at the same time; and how long one waits on this machine for one's turn (s)."""
    found: list[float] = []
    probe = asyncio.create_task(lags(found))
    runs = {
        "acks": measure(
            lambda: Faults(ack_delay=lambda number: SELDOM if number % 10 == 0 else USUAL),
            threshold=["ack.p50<200ms"],
        ),
        "updates": measure(lambda: Faults(update_delay=lambda _: UPDATE), threshold=["p99<20s", "errors<1%"]),
        "streams": measure(lambda: Faults(update_delay=lambda _: UPDATE), transport="sse"),
        "stall": measure(stall),
        "away": measure(lambda: Faults(close_after=RATE), visitors="1", threshold=["errors<50%"]),
    }
    measured = await asyncio.gather(*runs.values())
    probe.cancel()
    return dict(zip(runs, measured, strict=True)), sorted(found)[len(found) * 99 // 100]


PERCENTILES = [
    ("acks", "ack", 50, USUAL),
    ("acks", "ack", 85, USUAL),
    ("acks", "ack", 95, SELDOM),
    ("updates", "update", 50, UPDATE),
    ("updates", "update", 90, UPDATE),
    ("streams", "update", 50, UPDATE),
    ("stall", "ack", 75, 1.9),
    ("stall", "ack", 90, 2.5),
]


async def test_what_is_measured_is_what_was_done(subtests: pytest.Subtests) -> None:
    """One test, so that tests in parallel do not each make all the runs."""
    runs, lag = await run_all()
    for name, distribution, percentile, least in PERCENTILES:
        with subtests.test(f"{name} {distribution} p{percentile}"):
            injected = runs[name].injected(distribution, percentile)
            # On a busy machine more was injected than was meant, and the last of it after the run's end.
            assert injected >= least * (1 - EXACT)
            found = runs[name].found(distribution, percentile)
            assert least * (1 - EXACT) <= found <= injected * (1 + EXACT) + lag
    for check, name in (
        (check_thresholds, "acks"),
        (check_everybody_is_counted, "stall"),
        (check_a_stall_is_counted_in_full, "stall"),
        (check_what_could_not_leave, "away"),
    ):
        with subtests.test(check.__name__):
            check(runs[name].result)


def check_thresholds(result: Result) -> None:
    assert [one.holds for one in result.verdict.threshold_results] == [False]
    assert result.verdict.status == (INVALID if result.verdict.complaints else MISSED)


def check_everybody_is_counted(result: Result) -> None:
    """Every reaction once for each other watcher."""
    assert result.totals.all("update").count == result.totals.count("acked") * OTHERS


def check_a_stall_is_counted_in_full(result: Result) -> None:
    """Coordinated omission: while the server says nothing, reactions go on being due, and waiting."""
    assert result.totals.all("ack").count == result.totals.count("sent") == 4 * RATE


def check_what_could_not_leave(result: Result) -> None:
    """The only visitor is turned away after a second: three more seconds of reactions stay due."""
    totals, due = result.totals, 4 * RATE
    unsent, cut = totals.count("never sent"), totals.count("cut off")
    assert (totals.count("acked"), totals.count("sent") + unsent) == (RATE, due)
    assert totals.all("ack").count == due - cut
    longest = totals.all("ack").at(100)
    assert longest is not None
    assert longest >= (due - RATE - cut) / RATE * 0.998
    # What was measured of those that had left would have been good.
    assert totals.errors() == (unsent + cut) / due
    assert [one.holds for one in result.verdict.threshold_results] == [False]
    assert not [check for check in result.verdict.checks if check.passed is False]
    assert any("limits refused" in line for line in summary.advice(result))


async def test_a_generator_that_is_late_is_invalid() -> None:
    """Its process is stopped until twenty reactions are due, as a busy machine would."""
    async with Fake() as fake:
        running = asyncio.create_task(harness(fake.url, **{**PLAN, "duration": "2s"}))
        await eventually(lambda: fake.reactions > RATE)
        (worker,) = (pid for pid, line in children(os.getpid()).items() if "tallycast_load.worker" in line)
        os.kill(worker, signal.SIGSTOP)
        stopped = time.monotonic()
        await eventually(lambda: time.monotonic() > stopped + 20 / RATE)
        os.kill(worker, signal.SIGCONT)
        result = await running
    assert result.verdict.status == INVALID, result.verdict
    assert "sent more than 10 ms after they were due" in result.verdict.complaints[0]
