"""Sends rows to the store in large batches, and knows how far it is.

Owns the batches, the patience with a store that is away for a while, and the line from which the same file
can be taken up again: everything before it is stored. Must not know files, terminals or the engine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from server.bulk.rows import Bad, Row, Start, Vote
from server.errors import Refusal, Unavailable

BATCH = 512
# A store that is away is waited for so long (s).
PATIENCE = 30.0
PAUSE = 0.5

Store = Callable[[Sequence[Vote | Start]], Awaitable[Sequence[Refusal | None]]]


@dataclass(slots=True)
class Progress:
    """How far an import is. ``line`` is where to go on: what comes before it is stored, or bad."""

    line: int = 1
    stored: int = 0
    bad: int = 0


class Importer:
    """``store`` takes a batch of rows, and tells for each why it was not granted, if so.

    ``complain`` is told of each bad row, ``show`` of the progress after each batch.
    """

    def __init__(
        self, store: Store, complain: Callable[[Bad], None], show: Callable[[Progress], None]
    ) -> None:
        self._store = store
        self._complain = complain
        self._show = show
        self.progress = Progress()

    async def run(self, rows: Iterable[Row]) -> None:
        """Import all rows.

        Raises:
            Unavailable: the store was away for too long. ``progress`` says how far it came.
        """
        under_way: asyncio.Task[None] | None = None
        try:
            for batch in _batches(rows, self._reject):
                # The next batch is put together while this one is under way; they never overtake one another.
                if under_way is not None:
                    await under_way
                under_way = asyncio.create_task(self._send(batch))
                await asyncio.sleep(0)
            if under_way is not None:
                await under_way
        finally:
            if under_way is not None:
                under_way.cancel()

    def _reject(self, bad: Bad) -> None:
        self.progress.bad += 1
        self._complain(bad)

    async def _send(self, batch: Sequence[Vote | Start]) -> None:
        for row, refusal in zip(batch, await self._patiently(batch), strict=True):
            if refusal is None:
                self.progress.stored += 1
            else:
                self._reject(Bad(row.line, str(refusal)))
        self.progress.line = batch[-1].line + 1
        self._show(self.progress)

    async def _patiently(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._store(batch)
            except Unavailable:
                # It may have taken effect, and repeating it is harmless.
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(PAUSE)


def _batches(rows: Iterable[Row], reject: Callable[[Bad], None]) -> Iterable[Sequence[Vote | Start]]:
    """Rows in their order, as many at a time as a batch takes."""
    batch: list[Vote | Start] = []
    for row in rows:
        if isinstance(row, Bad):
            reject(row)
            continue
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
