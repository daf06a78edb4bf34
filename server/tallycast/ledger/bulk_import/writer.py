"""Writes the rows of an import into the ledger.

Owns how rows become reactions and bases. Does not depend on files or progress.
"""

from collections.abc import Sequence
from functools import lru_cache

from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.store import Scripts
from tallycast.ledger.bulk_import.rows import CACHED_IDS, Start, Vote
from tallycast.ledger.moderation import start
from tallycast.ledger.writer import SetReaction, apply


class ImportWriter:
    """Writes rows for one site. Writing the same rows again changes nothing."""

    def __init__(self, store: Scripts, site: Site) -> None:
        self._store = store
        self._site = site
        self._member = lru_cache(CACHED_IDS)(keys.member)

    async def write(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        """Store a batch. Returns for each row the refusal, or ``None``.

        Raises:
            Unavailable: not confirmed in time.
        """
        votes = [row for row in batch if isinstance(row, Vote)]
        # Of several rows for one item the last one counts.
        starts = {row.item: row.counts for row in batch if isinstance(row, Start)}
        refusals = iter(await self._react(votes) if votes else ())
        started = (
            dict(zip(starts, await start(self._store, self._site, starts), strict=True)) if starts else {}
        )
        return [next(refusals) if isinstance(row, Vote) else started[row.item] for row in batch]

    async def _react(self, votes: Sequence[Vote]) -> Sequence[Refusal | None]:
        reactions = [
            SetReaction(self._site, vote.item, self._member(vote.visitor), vote.reaction, 0, _ignore)
            for vote in votes
        ]
        answers = await apply(self._store, reactions, [vote.at or 0 for vote in votes])
        return [answer if isinstance(answer, Refusal) else None for answer in answers]


def _ignore(_answer: object) -> None:
    """The batch is awaited as a whole."""
