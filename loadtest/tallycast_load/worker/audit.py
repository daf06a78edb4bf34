"""The audit of one process: is every acknowledged reaction of its visitors in the store?

Does not depend on how reactions were sent.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from tallycast_load.client.items import ItemReader, run_limited
from tallycast_load.processes.ipc import Audited
from tallycast_load.reactions.ledger import HeldReaction, ReactionLedger

EXAMPLES = 3


class Auditor:
    """Compares a ledger with the store. ``token`` returns each visitor's token."""

    def __init__(self, reader: ItemReader, items: list[str], token: Callable[[int], str | None]) -> None:
        self._reader = reader
        self._items = items
        self._token = token
        self._compared = self._lost = 0
        self._examples: list[str] = []
        self._tally: defaultdict[int, Counter[str]] = defaultdict(Counter)

    async def compare(self, ledger: ReactionLedger) -> Audited:
        """Compare every reaction of every visitor in the ledger.

        Raises:
            LoadError: the store cannot be read.
        """
        await run_limited(self._comparisons(ledger))
        tally = {item: dict(counter) for item, counter in self._tally.items()}
        return Audited(self._compared, self._lost, self._examples, tally)

    def _comparisons(self, ledger: ReactionLedger) -> Iterator[Any]:
        for visitor, entries in groupby(ledger.entries(), key=lambda entry: entry[0]):
            yield self._compare_visitor(visitor, {item: held for _, item, held in entries})

    async def _compare_visitor(self, visitor: int, reactions: dict[int, HeldReaction]) -> None:
        names = [self._items[item] for item in reactions]
        stored = await self._reader.read(names, self._token(visitor))
        for (item, held), found in zip(reactions.items(), stored, strict=True):
            self._compare(visitor, item, held, found.reaction)

    def _compare(self, visitor: int, item: int, held: HeldReaction, stored: str | None) -> None:
        self._compared += 1
        possible = held.possible()
        if stored not in possible:
            self._lost += 1
            if len(self._examples) < EXAMPLES:
                expected = " or ".join(sorted(str(reaction) for reaction in possible))
                name = self._items[item]
                self._examples.append(
                    f"visitor {visitor} on {name}: {expected} was acknowledged, {stored} is stored"
                )
        # What was acknowledged counts; where the outcome is uncertain, what is stored.
        counted = stored if stored in possible else held.acked
        if counted is not None:
            self._tally[item][counted] += 1
