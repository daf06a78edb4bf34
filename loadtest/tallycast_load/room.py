"""What all connections of one process share: the items, the frames that were seen, whom to tell.

Owns no connection and decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic_ns as now
from typing import TYPE_CHECKING

from tallycast.contract.messages import Ack, Error

from tallycast_load.faults import TWO_COUNTS, Faults
from tallycast_load.sightings import Seen, Sightings
from tallycast_load.speech import Speech

if TYPE_CHECKING:
    from tallycast_load.watcher import Reader

NEVER = 2**63


@dataclass
class Room:
    """``known`` maps the bytes of a frame to what it says, so that most are recognised and not read."""

    uri: str
    site: str
    speech: Speech
    items: list[str]
    sightings: Sightings
    faults: Faults
    ready: "Callable[[Reader], None]"
    ended: "Callable[[Reader, int | None], None]"
    acked: "Callable[[Reader, Ack], None]"
    refused: "Callable[[Reader, Error], None]"
    # When the next reaction is due (ns), and what lets it leave.
    due: int = NEVER
    ring: Callable[[], None] = lambda: None
    known: dict[bytes, Seen] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    newest: dict[int, Seen] = field(default_factory=dict)
    resets: int = 0
    untimed: int = 0

    def __post_init__(self) -> None:
        self.numbers = {item: number for number, item in enumerate(self.items)}

    def pulse(self) -> None:
        """Let leave what is due, between two frames of many."""
        if now() > self.due:
            self.ring()

    def learn(self, key: bytes, seen: Seen) -> None:
        """A distinct frame came for the first time."""
        self.alias(key, seen)
        self.sightings.follow(seen)
        newest = self.newest.get(seen.item)
        if newest is None or newest.version < seen.version:
            self.newest[seen.item] = seen
        elif newest.version == seen.version and newest.counts != seen.counts:
            self.faults.add(
                TWO_COUNTS, f"{self.items[seen.item]} at {seen.version}: {newest.counts} and {seen.counts}"
            )

    def alias(self, key: bytes, seen: Seen) -> None:
        """These bytes mean that frame."""
        self.known[key] = seen
        seen.keys.append(key)

    def forget(self, seen: Seen) -> None:
        """Nobody was brought it for a while."""
        for key in seen.keys:
            self.known.pop(key, None)
