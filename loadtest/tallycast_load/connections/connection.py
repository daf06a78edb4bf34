"""What all connections of one process share: the items, the frames that were seen, whom to tell.

Owns no connection and decides nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic_ns as now

from tallycast.contract.messages import Ack, Error

from tallycast_load.client.codec import Speech
from tallycast_load.measure.updates import NOTHING, UNSEEN, Seen, Sightings
from tallycast_load.measure.violations import NOT_WATCHED, REPEATED, TWO_COUNTS, WENT_DOWN, Faults

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


class Reader(asyncio.Protocol):
    """What every connection is, whatever its transport. ``number`` is the connection's, in the whole run."""

    __slots__ = (
        "_rest",
        "_room",
        "bye",
        "due",
        "leaving",
        "number",
        "own",
        "shown",
        "sleepy",
        "token",
        "transport",
        "up",
        "usual",
        "why",
    )

    def __init__(
        self, room: Room, number: int, items: Iterable[int], token: str | None, sleepy: bool
    ) -> None:
        self._room = room
        self._rest = b""
        self.number = number
        self.token = token
        self.sleepy = sleepy
        self.shown: dict[int, Seen] = dict.fromkeys(items, NOTHING)
        # Items with a reaction of its own: how many are on their way, and the version of the last answer.
        self.own: dict[int, list[int]] | None = None
        self.transport: asyncio.Transport | None = None
        self.due = 0
        self.up = False
        self.leaving = False
        self.bye: float | None = None
        self.why = ""
        # Nothing about it is unusual, so that a known frame needs no second look.
        self.usual = False

    def look(self) -> None:
        """Find out whether anything is unusual about it."""
        self.usual = self.up and not (self._rest or self.own or self.sleepy)

    def see(self, seen: Seen) -> None:
        """A ``counts`` frame came."""
        item, room = seen.item, self._room
        last = self.shown.get(item)
        if last is None:
            room.faults.add(NOT_WATCHED, f"{room.items[item]} on connection {self.number}")
            return
        if last is not NOTHING and not seen.reset and seen.version <= last.version:
            self._wrong(last, seen)
            return
        self.shown[item] = seen
        if seen.reset:
            room.resets += 1
        if last is NOTHING or seen.reset or self.sleepy or not self.up:
            room.untimed += 1
        elif self.own and item in self.own:
            seen.own.append((last.version, now(), self.number))
            self.settle(item)
        else:
            if seen.previous is UNSEEN:
                seen.previous = last
            if last is seen.previous:
                seen.times.append(now())
            else:
                seen.odd.append((last.version, now()))

    def react(self, item: int) -> None:
        """A reaction of its own leaves."""
        if item in self.shown:
            self.own = self.own or {}
            self.own.setdefault(item, [0, 0])[0] += 1
            self.look()

    def answered(self, item: int, version: int) -> None:
        """It was answered; ``version`` is 0 when it was refused."""
        own = self.own.get(item) if self.own else None
        if own is not None:
            own[0] -= 1
            own[1] = max(own[1], version)
            self.settle(item)

    def settle(self, item: int) -> None:
        """Whether it shows everything that it did itself."""
        if self.own and (own := self.own.get(item)) and own[0] <= 0 and self.shown[item].version >= own[1]:
            del self.own[item]
            self.look()

    def leave(self, polite: bool) -> None:
        """Go, on purpose."""
        raise NotImplementedError

    def ending(self) -> None:
        """The connection is over, whoever wanted it: forget what belongs to it alone."""
        self.transport = None
        self.up = self.leaving = False
        self._rest = b""
        self.own = None
        self.look()

    def _wrong(self, last: Seen, seen: Seen) -> None:
        where = f"{self._room.items[seen.item]} on connection {self.number}: {last.version} → {seen.version}"
        if seen.version < last.version:
            self._room.faults.add(WENT_DOWN, where)
        elif seen.counts == last.counts:
            self._room.faults.add(REPEATED, where)
        else:
            self._room.faults.add(TWO_COUNTS, where)
