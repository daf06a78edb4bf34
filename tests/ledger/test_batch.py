"""Group commit by itself, with entries that record their answer."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.ledger.batch import Batcher

from tests.support.waiting import eventually


class Entry:
    def __init__(self, number: int, weight: int = 1) -> None:
        self.number = number
        self.weight = weight
        self.answers: list[object] = []

    def refuse(self, refusal: Refusal) -> None:
        self.answers.append(refusal)


@settings(deadline=None)
@given(
    weights=st.lists(st.integers(1, 8), max_size=40),
    max_weight=st.integers(1, 10),
    capacity=st.integers(1, 60),
    broken=st.sets(st.integers(0, 10)),
)
def test_every_entry_is_answered_once_in_order_and_batches_keep_their_bound(
    weights: list[int], max_weight: int, capacity: int, broken: set[int]
) -> None:
    batches: list[list[int]] = []
    accepted: list[int] = []

    async def send(entries: Sequence[Entry]) -> None:
        batches.append([entry.number for entry in entries])
        assert len(entries) == 1 or sum(entry.weight for entry in entries) <= max_weight
        await asyncio.sleep(0)
        if len(batches) - 1 in broken:
            raise ValueError("a defect")
        for entry in entries:
            entry.answers.append("ok")

    async def drive() -> list[Entry]:
        batcher: Batcher[Entry] = Batcher(send, max_weight=max_weight, capacity=capacity)
        entries = [Entry(i, weight) for i, weight in enumerate(weights)]
        for entry in entries:
            batcher.submit(entry)
            if not entry.answers:
                accepted.append(entry.number)
            if entry.number % 3 == 0:
                await asyncio.sleep(0)
        await batcher.close()
        return entries

    entries = asyncio.run(drive())
    assert all(len(entry.answers) == 1 for entry in entries)
    assert [number for batch in batches for number in batch] == accepted


async def test_the_first_leaves_at_once_and_the_rest_ride_the_next() -> None:
    batches: list[int] = []
    gate = asyncio.Event()

    async def send(entries: Sequence[Entry]) -> None:
        batches.append(len(entries))
        await gate.wait()

    batcher: Batcher[Entry] = Batcher(send, max_weight=100, capacity=100)
    batcher.submit(Entry(0))
    await asyncio.sleep(0)
    for i in range(50):
        batcher.submit(Entry(i))
    await asyncio.sleep(0)
    assert batches == [1]
    gate.set()
    await batcher.close()
    assert batches == [1, 50]


async def test_an_engine_that_fails_refuses_what_waits_behind_it_too() -> None:
    calls = 0

    async def send(entries: Sequence[Entry]) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        raise Unavailable("gone")

    batcher: Batcher[Entry] = Batcher(send, max_weight=2, capacity=100)
    entries = [Entry(i) for i in range(10)]
    for entry in entries:
        batcher.submit(entry)
    await batcher.close()
    assert calls == 1, "what waits behind a failure is not sent to fail again"
    assert all(len(entry.answers) == 1 and isinstance(entry.answers[0], Unavailable) for entry in entries)


async def test_room_is_given_back() -> None:
    async def send(entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.answers.append("ok")

    batcher: Batcher[Entry] = Batcher(send, max_weight=2, capacity=3)
    for _ in range(5):
        entries = [Entry(i) for i in range(3)]
        for entry in entries:
            batcher.submit(entry)
        await eventually(lambda entries=entries: all(entry.answers for entry in entries))
        assert [entry.answers for entry in entries] == [["ok"]] * 3
