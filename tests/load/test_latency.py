"""What the harness measures is what the fake server's clock did."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.load.run import Result
from server.load.verdict import INVALID, MISSED, PASSED
from tests.load.fake import Fake, Faults
from tests.load.support import harness

USUAL, SELDOM, UPDATE = 1.0, 3.0, 0.6
# A run that says itself that this machine was too busy with other things is done again.
TRIES = 4
PLAN = {
    "connections": "6",
    "items": "1",
    "reactions": "60/s",
    "duration": "4s",
    "warmup": "0s",
    "arrivals": "fixed",
}


def delay(number: int) -> float:
    """Every tenth is slow."""
    return SELDOM if number % 10 == 0 else USUAL


async def kept_up(run: Callable[[], Awaitable[Result]]) -> Result:
    """The result of a run in which the harness kept its schedule."""
    for _ in range(TRIES):
        result = await run()
        if not result.verdict.complaints:
            break
    return result


async def stalled() -> Result:
    """A server that says nothing until four seconds have passed."""
    async with Fake() as fake:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        fake.faults.ack_delay = lambda _: max(0.0, begun + 4.0 - loop.time())
        return await harness(fake.url, **PLAN)


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Runs that only wait, at the same time."""

    async def acks() -> Result:
        async with Fake(Faults(ack_delay=delay)) as fake:
            return await harness(fake.url, **PLAN, threshold=["ack.p50<200ms"])

    async def updates() -> Result:
        async with Fake(Faults(update_delay=lambda _: UPDATE)) as fake:
            return await harness(fake.url, **PLAN, threshold=["p99<10s", "errors<1%"])

    async def streams() -> Result:
        async with Fake(Faults(update_delay=lambda _: UPDATE)) as fake:
            return await harness(fake.url, **PLAN, transport="sse")

    async def both() -> dict[str, Result]:
        found = await asyncio.gather(*map(kept_up, (acks, updates, streams, stalled)))
        return dict(zip(("acks", "updates", "streams", "stalled"), found, strict=True))

    return asyncio.run(both())


def at(result: Result, distribution: str, percentile: float) -> float:
    value = result.totals.all(distribution).at(percentile)
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("name", "distribution", "percentile", "injected"),
    [
        ("acks", "ack", 50, USUAL),
        ("acks", "ack", 85, USUAL),
        ("acks", "ack", 95, SELDOM),
        ("updates", "update", 50, UPDATE),
        ("updates", "update", 90, UPDATE),
        ("streams", "update", 50, UPDATE),
    ],
)
def test_percentiles_are_the_injected_delays(
    results: dict[str, Result], name: str, distribution: str, percentile: float, injected: float
) -> None:
    assert at(results[name], distribution, percentile) == pytest.approx(injected, rel=0.02)


def test_a_missed_threshold(results: dict[str, Result]) -> None:
    assert results["acks"].verdict.status == MISSED
    assert results["updates"].verdict.status == PASSED


def test_every_reaction_is_counted_once_for_each_other_watcher(results: dict[str, Result]) -> None:
    result = results["updates"]
    assert result.totals.all("update").count == result.totals.count("acked") * 5


def test_the_event_stream_passes_all_checks(results: dict[str, Result]) -> None:
    assert results["streams"].verdict.status == PASSED
    assert results["streams"].totals.count("acked") == results["streams"].totals.count("sent") > 0


def test_a_stall_is_counted_in_full(results: dict[str, Result]) -> None:
    """Coordinated omission: while the server says nothing, reactions go on being due, and waiting."""
    result = results["stalled"]
    assert result.totals.all("ack").count == result.totals.count("sent") > 200
    assert at(result, "ack", 90) > 0.3


async def test_a_generator_that_is_late_is_invalid() -> None:
    async with Fake() as fake:
        result = await harness(
            fake.url, connections="2", items="1", reactions="30k/s", duration="1s", warmup="0s"
        )
    assert result.verdict.status == INVALID, result.verdict
    assert "left more than 10 ms after they were due" in result.verdict.complaints[0]
