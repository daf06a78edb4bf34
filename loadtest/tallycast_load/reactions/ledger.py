"""The ledger of acks: reactions that are pending, acknowledged or uncertain, by visitor and item.

Pure. Each process keeps the ledger of its own visitors.
"""

from collections.abc import Iterator
from typing import NamedTuple

# An unanswered reaction may still take effect, but not later than any server's deadline (ns).
MAX_APPLY_DELAY = 5_000_000_000

# Lower refs belong to the messages that a connection sends when it opens.
FIRST_REF = 1000

Reaction = str | None


class SentReaction(NamedTuple):
    """A reaction that was sent. Times in nanoseconds; ``intended`` is when it was due."""

    visitor: int
    item: int
    reaction: Reaction
    intended: int
    sent: int
    stage: int


class HeldReaction:
    """One visitor's reaction to one item: the last one acknowledged, and those whose outcome is uncertain."""

    __slots__ = ("acked", "last_sent", "uncertain", "version")

    def __init__(self) -> None:
        self.acked: Reaction = None
        self.version = -1
        self.last_sent: Reaction = None
        self.uncertain: list[tuple[Reaction, int]] = []

    def possible(self) -> set[Reaction]:
        """What the store may hold."""
        return {self.acked, *(reaction for reaction, _ in self.uncertain)}


class ReactionLedger:
    """The ledger of one process. Its refs are unique in the process."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], HeldReaction] = {}
        self.pending: dict[int, SentReaction] = {}
        self._next_ref = FIRST_REF

    def choose(self, visitor: int, item: int, kinds: list[str], chance: float) -> Reaction:
        """Choose a reaction other than the visitor's last one, so that every reaction changes the counts.

        ``chance`` is from 0 to 1.
        """
        held = self._held.get((visitor, item))
        last = held.last_sent if held is not None else None
        others = [reaction for reaction in (*kinds, None) if reaction != last]
        return others[min(int(chance * len(others)), len(others) - 1)]

    def add(self, sent: SentReaction) -> int:
        """Add a pending reaction. Returns its ref."""
        ref, self._next_ref = self._next_ref, self._next_ref + 1
        self.pending[ref] = sent
        self._held.setdefault((sent.visitor, sent.item), HeldReaction()).last_sent = sent.reaction
        return ref

    def acknowledge(self, ref: int, version: int) -> SentReaction | None:
        """Move a pending reaction to the acknowledged ones; None when ``ref`` is not pending."""
        sent = self.pending.pop(ref, None)
        if sent is None:
            return None
        held = self._held[sent.visitor, sent.item]
        # HTTP responses may arrive in any order; versions tell which is later.
        if version >= held.version:
            held.acked, held.version = sent.reaction, version
        held.uncertain = [
            (reaction, at) for reaction, at in held.uncertain if at > sent.sent - MAX_APPLY_DELAY
        ]
        return sent

    def reject(self, ref: int, *, uncertain: bool) -> SentReaction | None:
        """Remove a pending reaction; ``uncertain``: it may have taken effect."""
        sent = self.pending.pop(ref, None)
        if sent is not None and uncertain:
            self._held[sent.visitor, sent.item].uncertain.append((sent.reaction, sent.sent))
        return sent

    def oldest(self) -> int | None:
        """When the oldest pending reaction was sent (ns)."""
        first = next(iter(self.pending.values()), None)
        return None if first is None else first.sent

    def sent_before(self, moment: int) -> list[int]:
        """The refs of the pending reactions that were sent before a moment (ns)."""
        found = []
        for ref, sent in self.pending.items():
            if sent.sent >= moment:
                break
            found.append(ref)
        return found

    def entries(self) -> Iterator[tuple[int, int, HeldReaction]]:
        """Visitor, item and reaction of every entry, ordered by visitor."""
        for visitor, item in sorted(self._held):
            yield visitor, item, self._held[visitor, item]
