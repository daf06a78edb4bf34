"""Batches, bad rows, and a store that goes away."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from server.bulk import importer as importer_module
from server.bulk.importer import BATCH, Importer, Progress
from server.bulk.rows import Bad, Row, Start, Vote
from server.errors import Forbidden, Refusal, Unavailable


def votes(first: int, many: int) -> list[Row]:
    return [Vote(line, f"i{line}", "u:1", "like", None) for line in range(first, first + many)]


class Store:
    """Takes batches, or is away."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Vote | Start]] = []
        self.away = 0
        self.refused: set[int] = set()

    async def __call__(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        await asyncio.sleep(0)
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


async def test_all_rows_in_their_order(store: Store, run: Run) -> None:
    rows = votes(2, 2 * BATCH + 1)
    rows[7] = Start(9, "x", {"like": 1, "dislike": 0})
    await run.importer.run(rows)
    assert [row for batch in store.batches for row in batch] == rows
    assert [len(batch) for batch in store.batches] == [BATCH, BATCH, 1]
    assert run.shown == [
        (BATCH + 2, BATCH, 0),
        (2 * BATCH + 2, 2 * BATCH, 0),
        (2 * BATCH + 3, 2 * BATCH + 1, 0),
    ]
    assert not run.bad


async def test_nothing_at_all(store: Store, run: Run) -> None:
    await run.importer.run([])
    assert not store.batches


async def test_bad_rows_and_refused_ones_are_told(store: Store, run: Run) -> None:
    store.refused = {2, 5}
    await run.importer.run([*votes(1, 3), Bad(4, "no such reaction"), *votes(5, 2)])
    assert sorted(run.bad) == [
        Bad(2, "this item is frozen"),
        Bad(4, "no such reaction"),
        Bad(5, "this item is frozen"),
    ]
    assert run.importer.progress == Progress(line=7, stored=3, bad=3)


async def test_the_next_batch_is_put_together_meanwhile(store: Store, run: Run) -> None:
    def rows() -> Iterator[Row]:
        for row in votes(1, 3 * BATCH):
            made.append(len(store.batches))
            yield row

    made: list[int] = []
    await run.importer.run(rows())
    # When the last row of the second batch was made, the first one had not come back.
    assert made[2 * BATCH - 1] == 0


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
    rows = votes(2, 3 * BATCH)

    def losing() -> Iterator[Row]:
        for row in rows:
            if row.line == BATCH + 10:
                store.away = 10**9
            yield row

    # The first batch is on its way by then, and the store is away when it gets there, or is not.
    with pytest.raises(Unavailable):
        await run.importer.run(losing())
    stored = [row.line for batch in store.batches for row in batch]
    line = run.importer.progress.line
    assert stored == list(range(2, line)) or (not stored and line == 1)
    store.away = 0
    again = Run(store)
    await again.importer.run([row for row in rows if row.line >= line])
    assert [row.line for batch in store.batches for row in batch] == [row.line for row in rows]


async def test_interrupted(store: Store, run: Run) -> None:
    store.away = 10**9
    task = asyncio.create_task(run.importer.run(votes(1, 10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.importer.progress.line == 1
