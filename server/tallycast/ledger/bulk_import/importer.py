"""Sends rows to the store in large batches, and tracks the progress.

Owns the batches, the retries while the store is unavailable, and the line from which the import of the same
file can be continued: everything before it is stored. Does not depend on files, terminals or the engine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.ledger.bulk_import.rows import Bad, Row, Start, Vote

BATCH = 256
# Rows that are sorted at a time. The line to continue from advances when all of them are stored.
WINDOW = 80 * BATCH
# How long (s) a batch is retried while the store is unavailable, and the pause between two tries.
PATIENCE = 30.0
PAUSE = 0.5

_item = attrgetter("item")

Store = Callable[[Sequence[Vote | Start]], Awaitable[Sequence[Refusal | None]]]


@dataclass(slots=True)
class Progress:
    """The progress of an import. ``line`` is where to continue: every row before it is stored, or bad.

    ``read`` counts the rows that were read; of these, ``stored`` and ``bad`` are finished.
    """

    line: int = 1
    stored: int = 0
    bad: int = 0
    read: int = 0


class Importer:
    """Imports rows.

    Args:
        store: stores a batch of rows, and returns for each the refusal, or ``None``.
        reject: is called with each bad row.
        show: is called with the progress after each batch.
    """

    def __init__(self, store: Store, reject: Callable[[Bad], None], show: Callable[[Progress], None]) -> None:
        self._store = store
        self._on_bad = reject
        self._show = show
        self.progress = Progress()
        # The line after the last one that was read.
        self._reached = 0

    async def run(self, rows: Iterable[Row]) -> None:
        """Import all rows.

        Raises:
            Unavailable: the store was unavailable for too long. ``progress`` has the line to continue from.
        """
        source = iter(rows)
        window: list[Vote | Start] = []
        before = self._reached
        self._read(source, WINDOW, window)
        while self._reached > before:
            before = self._reached
            # The rows of an item cost much less together; in their order, because the last one counts.
            window.sort(key=_item)
            # Two batches at a time, so that the store and the reader of the file do not wait for each other.
            # All rows of an item are in one half, and so still in their order.
            middle = _next_item(window, len(window) // BATCH // 2 * BATCH)
            following: list[Vote | Start] = []
            halves = [
                asyncio.create_task(self._send_all(half, source, following))
                for half in (window[:middle], window[middle:])
            ]
            try:
                await asyncio.gather(*halves)
            finally:
                for half in halves:
                    half.cancel()
            self.progress.line = before
            self._read(source, WINDOW - len(following), following)
            window = following

    async def _send_all(
        self, rows: Sequence[Vote | Start], source: Iterator[Row], following: list[Vote | Start]
    ) -> None:
        """Send rows, batch after batch. While one is stored, some of the next window is read."""
        current = asyncio.current_task()
        assert current is not None
        for at in range(0, len(rows), BATCH):
            sending = asyncio.create_task(self._send(rows[at : at + BATCH]))
            try:
                await asyncio.sleep(0)
                self._read(source, min(BATCH, WINDOW - len(following)), following)
                await sending
                if current.cancelling():
                    raise asyncio.CancelledError  # a library below may have swallowed it
            finally:
                sending.cancel()

    def _read(self, rows: Iterator[Row], count: int, good: list[Vote | Start]) -> None:
        """Read up to ``count`` rows; the good ones are appended to a list."""
        for row in islice(rows, count):
            self._reached = row.line + 1
            self.progress.read += 1
            if isinstance(row, Bad):
                self._reject(row)
            else:
                good.append(row)

    def _reject(self, bad: Bad) -> None:
        self.progress.bad += 1
        self._on_bad(bad)

    async def _send(self, batch: Sequence[Vote | Start]) -> None:
        for row, refusal in zip(batch, await self._store_with_retries(batch), strict=True):
            if refusal is None:
                self.progress.stored += 1
            else:
                self._reject(Bad(row.line, str(refusal)))
        self._show(self.progress)

    async def _store_with_retries(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._store(batch)
            except Unavailable:
                # It may have taken effect, and repeating it is harmless.
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(PAUSE)


def _next_item(rows: Sequence[Vote | Start], at: int) -> int:
    """The first index from ``at`` on at which the rows of another item begin, or the end."""
    while 0 < at < len(rows) and rows[at].item == rows[at - 1].item:
        at += 1
    return at
