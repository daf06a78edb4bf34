"""One process's visitors, held against the store: is everything there that was acknowledged?

Must not know how the reactions got there.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from tallycast_load.client.items import Store, together
from tallycast_load.processes.ipc import Audited
from tallycast_load.reactions.ledger import Book, Held

EXAMPLES = 3


class Auditor:
    """``token`` is each visitor's."""

    def __init__(self, store: Store, items: list[str], token: Callable[[int], str | None]) -> None:
        self._store = store
        self._items = items
        self._token = token
        self._compared = self._lost = 0
        self._examples: list[str] = []
        self._tally: defaultdict[int, Counter[str]] = defaultdict(Counter)

    async def compare(self, book: Book) -> Audited:
        """Ask the store for every reaction of every visitor in the book.

        Raises:
            LoadError: it does not answer.
        """
        await together(self._visits(book))
        tally = {item: dict(counter) for item, counter in self._tally.items()}
        return Audited(self._compared, self._lost, self._examples, tally)

    def _visits(self, book: Book) -> Iterator[Any]:
        for visitor, entries in groupby(book.held(), key=lambda entry: entry[0]):
            yield self._visit(visitor, {item: held for _, item, held in entries})

    async def _visit(self, visitor: int, held: dict[int, Held]) -> None:
        names = [self._items[item] for item in held]
        stored = await self._store.read(names, self._token(visitor))
        for (item, expected), found in zip(held.items(), stored, strict=True):
            self._compare(visitor, item, expected, found.reaction)

    def _compare(self, visitor: int, item: int, held: Held, found: str | None) -> None:
        self._compared += 1
        allowed = held.allowed()
        if found not in allowed:
            self._lost += 1
            if len(self._examples) < EXAMPLES:
                wishes = " or ".join(sorted(str(wish) for wish in allowed))
                self._examples.append(
                    f"visitor {visitor} on {self._items[item]}: {wishes} was acknowledged, {found} is stored"
                )
        # What the visitor was told counts; where that is open, the store may choose.
        believed = found if found in allowed else held.acked
        if believed is not None:
            self._tally[item][believed] += 1
