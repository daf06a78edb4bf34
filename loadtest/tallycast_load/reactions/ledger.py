"""What every visitor was told: reactions on their way, acknowledged ones, and open outcomes.

Pure. Each process keeps the book of its own visitors.
"""

from collections.abc import Iterator
from typing import NamedTuple

# A reaction without an answer may still take effect, but not for longer than any server's deadline.
MAY_LINGER = 5_000_000_000

# Refs below are for what connections ask when they open.
FIRST_REF = 1000

Wish = str | None


class Sent(NamedTuple):
    """A reaction on its way. Times in nanoseconds; ``intended`` is when it was due."""

    visitor: int
    item: int
    wish: Wish
    intended: int
    sent: int
    stage: int


class Held:
    """What one visitor holds on one item: what was acknowledged last, and what may have come after."""

    __slots__ = ("acked", "last", "open", "version")

    def __init__(self) -> None:
        self.acked: Wish = None
        self.version = -1
        self.last: Wish = None
        self.open: list[tuple[Wish, int]] = []

    def allowed(self) -> set[Wish]:
        """What the store may hold."""
        return {self.acked, *(wish for wish, _ in self.open)}


class Book:
    """``refs`` are unique in a process."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], Held] = {}
        self.under_way: dict[int, Sent] = {}
        self._next = FIRST_REF

    def choose(self, visitor: int, item: int, kinds: list[str], chance: float) -> Wish:
        """Something else than what this visitor wished last, so that every reaction changes something."""
        held = self._held.get((visitor, item))
        last = held.last if held is not None else None
        others = [wish for wish in (*kinds, None) if wish != last]
        return others[min(int(chance * len(others)), len(others) - 1)]

    def send(self, sent: Sent) -> int:
        """A reaction leaves; its ref."""
        ref, self._next = self._next, self._next + 1
        self.under_way[ref] = sent
        self._held.setdefault((sent.visitor, sent.item), Held()).last = sent.wish
        return ref

    def acknowledge(self, ref: int, version: int) -> Sent | None:
        """It was confirmed; ``None`` when it was answered before, or never sent."""
        sent = self.under_way.pop(ref, None)
        if sent is None:
            return None
        held = self._held[sent.visitor, sent.item]
        # Answers over HTTP may come in any order; versions tell which was later.
        if version >= held.version:
            held.acked, held.version = sent.wish, version
        held.open = [(wish, at) for wish, at in held.open if at > sent.sent - MAY_LINGER]
        return sent

    def refuse(self, ref: int, *, unsure: bool) -> Sent | None:
        """It was refused; ``unsure``: it may have taken effect."""
        sent = self.under_way.pop(ref, None)
        if sent is not None and unsure:
            self._held[sent.visitor, sent.item].open.append((sent.wish, sent.sent))
        return sent

    def oldest(self) -> int | None:
        """When the oldest reaction that waits for its answer was sent."""
        first = next(iter(self.under_way.values()), None)
        return None if first is None else first.sent

    def overdue(self, before: int) -> list[int]:
        """The refs of what was sent before a moment and has no answer."""
        found = []
        for ref, sent in self.under_way.items():
            if sent.sent >= before:
                break
            found.append(ref)
        return found

    def held(self) -> Iterator[tuple[int, int, Held]]:
        """Every visitor and item of which anything is known, by visitor."""
        for visitor, item in sorted(self._held):
            yield visitor, item, self._held[visitor, item]
