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

from server.bulk.rows import Bad, Row, Start, Vote
from server.errors import Refusal, Unavailable

BATCH = 512
# So many rows are sorted at a time, and go into the store as a whole before the next line to go on from.
WINDOW = 40 * BATCH
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

    async def run(self, rows: Iterable[Row]) -> None:
        """Import all rows.

        Raises:
            Unavailable: the store was away for too long. ``progress`` says how far it came.
        """
        current = asyncio.current_task()
        source = iter(rows)
        window, end = self._read(source, WINDOW)
        while end:
            # The rows of an item cost much less together; in their order, because the last one holds.
            window.sort(key=_item)
            following: list[Vote | Start] = []
            reached = 0
            for at in range(0, len(window), BATCH):
                sending = asyncio.create_task(self._send(window[at : at + BATCH]))
                try:
                    await asyncio.sleep(0)
                    # While the store works, some of the next window is read.
                    some, last = self._read(source, BATCH)
                    await sending
                    if current is not None and current.cancelling():
                        # A library below may have swallowed it.
                        raise asyncio.CancelledError
                finally:
                    sending.cancel()
                following += some
                reached = last or reached
            self.progress.line = end
            some, last = self._read(source, WINDOW - len(following))
            window, end = following + some, last or reached

    def _read(self, rows: Iterator[Row], many: int) -> tuple[list[Vote | Start], int]:
        """Up to so many rows, without the bad ones, and the line behind the last; 0: there are no more."""
        good: list[Vote | Start] = []
        end = 0
        for row in islice(rows, many):
            end = row.line + 1
            self.progress.read += 1
            if isinstance(row, Bad):
                self._reject(row)
            else:
                good.append(row)
        return good, end

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
