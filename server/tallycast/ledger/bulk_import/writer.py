"""Rows of an import on their way into the ledger.

Owns how rows become wishes and starts. Must not know files or progress.
"""

from collections.abc import Sequence
from functools import lru_cache

from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.store import Scripts
from tallycast.ledger.bulk_import.rows import REMEMBERED, Start, Vote
from tallycast.ledger.moderation import start
from tallycast.ledger.writer import SetReaction, apply


class ImportWriter:
    """Takes rows for one site. Taking the same ones again changes nothing."""

    def __init__(self, store: Scripts, site: Site) -> None:
        self._store = store
        self._site = site
        self._member = lru_cache(REMEMBERED)(keys.member)

    async def take(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        """Store a batch; for each row why it was not, if so.

        Raises:
            Unavailable: not confirmed in time.
        """
        votes = [row for row in batch if isinstance(row, Vote)]
        # Of several for one item the last one holds.
        starts = {row.item: row.counts for row in batch if isinstance(row, Start)}
        granted = iter(await self._react(votes) if votes else ())
        begun = dict(zip(starts, await start(self._store, self._site, starts), strict=True)) if starts else {}
        return [next(granted) if isinstance(row, Vote) else begun[row.item] for row in batch]

    async def _react(self, votes: Sequence[Vote]) -> Sequence[Refusal | None]:
        reactions = [
            SetReaction(self._site, vote.item, self._member(vote.visitor), vote.reaction, 0, _nobody)
            for vote in votes
        ]
        answers = await apply(self._store, reactions, [vote.at or 0 for vote in votes])
        return [answer if isinstance(answer, Refusal) else None for answer in answers]


def _nobody(_answer: object) -> None:
    """Nobody waits for one wish of a batch."""
