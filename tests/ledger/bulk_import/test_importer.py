"""Batches, bad rows, and a store that goes away."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import pytest
from tallycast.contract.errors import Forbidden, Refusal, Unavailable
from tallycast.ledger.bulk_import import importer as importer_module
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.importer import BATCH, WINDOW, Importer, Progress
from tallycast.ledger.bulk_import.rows import Bad, Row, Start, Vote

from tests.support.waiting import eventually


def votes(first: int, many: int) -> list[Any]:
    return [Vote(line, f"i{line}", "u:1", "like", None) for line in range(first, first + many)]


class Store:
    """Takes batches, or is away."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Vote | Start]] = []
        self.under_way = self.most = 0
        self.away = 0
        self._chance = random.Random(7)
        self.refused: set[int] = set()

    async def __call__(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for _ in range(self._chance.randrange(1, 5)):
            await asyncio.sleep(0)
        self.under_way -= 1
        if self.away:
            self.away -= 1
            raise Unavailable("the engine is away")
        self.batches.append(batch)
        return [Forbidden("this item is frozen") if row.line in self.refused else None for row in batch]


class Run:
    def __init__(self, store: Store) -> None:
        self.bad: list[Bad] = []
        self.shown: list[tuple[int, int, int]] = []
        self.importer = Importer(store, self.bad.append, self.show)

    def show(self, progress: Progress) -> None:
        self.shown.append((progress.line, progress.stored, progress.bad))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def run(store: Store) -> Run:
    return Run(store)


async def test_all_rows_each_items_in_their_order(store: Store, run: Run) -> None:
    rows = [row._replace(item=f"i{row.line % 7}") for row in votes(2, 2 * WINDOW + BATCH + 1)]
    rows[7] = Start(9, "i2", {"like": 1, "dislike": 0})
    await run.importer.run(rows)
    sent = [row for batch in store.batches for row in batch]
    assert sorted(sent, key=attrgetter("line")) == rows
    for item in {row.item for row in rows}:
        lines = [row.line for row in sent if row.item == item]
        assert lines == sorted(lines)
    # Together, because they cost much less so.
    assert max(len({row.item for row in batch}) for batch in store.batches if batch[0].line <= WINDOW) == 2
    assert max(len(batch) for batch in store.batches) == BATCH
    assert len(store.batches) <= len(rows) // BATCH + 6
    assert store.most == 2
    assert run.importer.progress == Progress(len(rows) + 2, len(rows), 0, len(rows))
    assert run.shown[0] == (1, BATCH, 0)
    assert {line for line, _, _ in run.shown} == {1, WINDOW + 2, 2 * WINDOW + 2}
    assert not run.bad


async def test_one_item_alone(store: Store, run: Run) -> None:
    rows = [row._replace(item="x") for row in votes(1, WINDOW + 10)]
    await run.importer.run(rows)
    assert [row for batch in store.batches for row in batch] == rows
    assert store.most == 1


async def test_bad_rows_make_no_smaller_batches(store: Store, run: Run) -> None:
    rows: list[Row] = []
    for row in votes(1, 3 * WINDOW):
        rows.append(row if row.line % 4 == 0 else Bad(row.line, "no such reaction"))
    await run.importer.run(rows)
    assert run.importer.progress == Progress(3 * WINDOW + 1, 3 * WINDOW // 4, 9 * WINDOW // 4, 3 * WINDOW)
    assert len(store.batches) <= 3 * WINDOW // 4 // BATCH + 6


async def test_only_bad_rows(store: Store, run: Run) -> None:
    await run.importer.run([Bad(line, "no such reaction") for line in range(1, 2 * WINDOW)])
    assert not store.batches
    assert run.importer.progress == Progress(2 * WINDOW, 0, 2 * WINDOW - 1, 2 * WINDOW - 1)


async def test_nothing_at_all(store: Store, run: Run) -> None:
    await run.importer.run([])
    assert not store.batches


async def test_bad_rows_and_refused_ones_are_reported(store: Store, run: Run) -> None:
    store.refused = {2, 5}
    await run.importer.run([*votes(1, 3), Bad(4, "no such reaction"), *votes(5, 2)])
    assert sorted(run.bad) == [
        Bad(2, "this item is frozen"),
        Bad(4, "no such reaction"),
        Bad(5, "this item is frozen"),
    ]
    assert run.importer.progress == Progress(line=7, stored=3, bad=3, read=6)


async def test_the_next_window_is_read_meanwhile(store: Store, run: Run) -> None:
    def rows() -> Iterator[Row]:
        for row in votes(1, 2 * WINDOW):
            read.append(len(store.batches))
            yield row

    read: list[int] = []
    await run.importer.run(rows())
    assert read[WINDOW] == 0
    assert read[-1] >= WINDOW // BATCH - 2
    assert read == sorted(read)


async def test_a_source_that_breaks_off(run: Run) -> None:
    def rows() -> Iterator[Row]:
        yield from votes(1, WINDOW + 1)
        raise ImportFailed("the disk is gone")

    with pytest.raises(ImportFailed):
        await run.importer.run(rows())
    assert run.importer.progress.line == 1


async def test_a_store_that_is_away_for_a_while(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "PAUSE", 0.001)
    store.away = 5
    await run.importer.run(votes(1, BATCH + 1))
    assert [len(batch) for batch in store.batches] == [BATCH, 1]
    assert run.importer.progress.stored == BATCH + 1


async def test_a_store_that_stays_away(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything before the line that is named was stored, and the same from there on is the rest."""
    monkeypatch.setattr(importer_module, "PAUSE", 0.001)
    monkeypatch.setattr(importer_module, "PATIENCE", 0.05)
    rows = votes(2, 3 * WINDOW)

    def losing() -> Iterator[Row]:
        for row in rows:
            if row.line == 2 * WINDOW + 10 * BATCH:
                store.away = 10**9
            yield row

    with pytest.raises(Unavailable):
        await run.importer.run(losing())
    line = run.importer.progress.line
    assert line == WINDOW + 2
    assert {row.line for batch in store.batches for row in batch} > set(range(2, line))
    store.away = 0
    await Run(store).importer.run([row for row in rows if row.line >= line])
    assert {row.line for batch in store.batches for row in batch} == {row.line for row in rows}


async def test_a_store_that_swallows_an_interruption(run: Run, store: Store) -> None:
    """As libraries do that use asyncio.wait_for, on Python 3.11."""

    async def swallowing(batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        nonlocal begun
        begun += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return await store(batch)

    begun = 0
    importer = Importer(swallowing, run.bad.append, run.show)
    task = asyncio.create_task(importer.run(votes(1, 6 * BATCH)))
    await eventually(lambda: begun == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(store.batches) == 2


async def test_interrupted(store: Store, run: Run) -> None:
    store.away = 10**9
    task = asyncio.create_task(run.importer.run(votes(1, 10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.importer.progress.line == 1
