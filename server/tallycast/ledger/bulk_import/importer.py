"""Sends rows to the store in large batches, and knows how far it is.

Owns the batches, the patience with a store that is away for a while, and the line from which the same file
can be taken up again: everything before it is stored. Must not know files, terminals or the engine.
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
# So many rows are sorted at a time, and go into the store as a whole before the next line to go on from.
WINDOW = 80 * BATCH
# A store that is away is waited for so long (s).
PATIENCE = 30.0
PAUSE = 0.5

_item = attrgetter("item")

Store = Callable[[Sequence[Vote | Start]], Awaitable[Sequence[Refusal | None]]]


@dataclass(slots=True)
class Progress:
    """How far an import is. ``line`` is where to go on: what comes before it is stored, or bad.

    ``read`` are all rows that were read, of which ``stored`` and ``bad`` are done with.
    """

    line: int = 1
    stored: int = 0
    bad: int = 0
    read: int = 0


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
        # The line behind the last that was read.
        self._reached = 0

    async def run(self, rows: Iterable[Row]) -> None:
        """Import all rows.

        Raises:
            Unavailable: the store was away for too long. ``progress`` says how far it came.
        """
        source = iter(rows)
        window: list[Vote | Start] = []
        before = self._reached
        self._read(source, WINDOW, window)
        while self._reached > before:
            before = self._reached
            # The rows of an item cost much less together; in their order, because the last one holds.
            window.sort(key=_item)
            # Two batches at a time, so that neither the store nor who reads the file waits for the other. All
            # rows of an item are in one half, and so in their order still.
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
        """Send rows, batch after batch. While the store works on one, some of the next window is read."""
        current = asyncio.current_task()
        assert current is not None
        for at in range(0, len(rows), BATCH):
            sending = asyncio.create_task(self._send(rows[at : at + BATCH]))
            try:
                await asyncio.sleep(0)
                self._read(source, min(BATCH, WINDOW - len(following)), following)
                await sending
                if current.cancelling():
                    raise asyncio.CancelledError  # A library below may have swallowed it.
            finally:
                sending.cancel()

    def _read(self, rows: Iterator[Row], many: int, good: list[Vote | Start]) -> None:
        """Read up to so many rows; the good ones are appended to a list."""
        for row in islice(rows, many):
            self._reached = row.line + 1
            self.progress.read += 1
            if isinstance(row, Bad):
                self._reject(row)
            else:
                good.append(row)

    def _reject(self, bad: Bad) -> None:
        self.progress.bad += 1
        self._complain(bad)

    async def _send(self, batch: Sequence[Vote | Start]) -> None:
        for row, refusal in zip(batch, await self._patiently(batch), strict=True):
            if refusal is None:
                self.progress.stored += 1
            else:
                self._reject(Bad(row.line, str(refusal)))
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


def _next_item(rows: Sequence[Vote | Start], at: int) -> int:
    """The place from there on at which the rows of an item begin, or the end."""
    while 0 < at < len(rows) and rows[at].item == rows[at - 1].item:
        at += 1
    return at
