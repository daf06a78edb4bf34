"""What every watching connection is, whatever its transport, and what all those of one process share.

Owns the state that a connection shows (``Connection``) and the updates known to the process
(``ConnectionContext``). Does not depend on transports, on when connections open, or on the reaction schedule.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic_ns as now

from tallycast.contract.messages import Ack, Error

from tallycast_load.client.codec import Codec
from tallycast_load.measure.updates import NO_UPDATE, UNKNOWN, Update, UpdateLatencies
from tallycast_load.measure.violations import NOT_WATCHED, REPEATED, TWO_COUNTS, WENT_DOWN, Violations

NEVER = 2**63


def _send_nothing() -> None:
    """Stand in for a scheduler where no reactions are sent."""


@dataclass
class ConnectionContext:
    """The items, the known updates and the callbacks of one process's connections.

    ``known`` maps the bytes of a frame to its update, so that most frames are recognised and not decoded.
    """

    uri: str
    site: str
    codec: Codec
    items: list[str]
    update_latencies: UpdateLatencies
    violations: Violations
    on_ready: "Callable[[Connection], None]"
    on_lost: "Callable[[Connection, int | None], None]"
    on_ack: "Callable[[Connection, Ack], None]"
    on_error: "Callable[[Connection, Error], None]"
    # When the next reaction is due (ns), and what sends it. A scheduler sets both.
    next_due: int = NEVER
    send_due: Callable[[], None] = _send_nothing
    known: dict[bytes, Update] = field(default_factory=dict)
    item_numbers: dict[str, int] = field(default_factory=dict)
    newest: dict[int, Update] = field(default_factory=dict)
    resets: int = 0
    untimed: int = 0

    def __post_init__(self) -> None:
        self.item_numbers = {item: number for number, item in enumerate(self.items)}

    def send_if_due(self) -> None:
        """Send the reactions that are due, between two of many frames."""
        if now() > self.next_due:
            self.send_due()

    def add_update(self, key: bytes, update: Update) -> None:
        """Add an update that this process received for the first time."""
        self.add_key(key, update)
        self.update_latencies.track(update)
        newest = self.newest.get(update.item)
        if newest is None or newest.version < update.version:
            self.newest[update.item] = update
        elif newest.version == update.version and newest.counts != update.counts:
            self.violations.add(
                TWO_COUNTS,
                f"{self.items[update.item]} at {update.version}: {newest.counts} and {update.counts}",
            )

    def add_key(self, key: bytes, update: Update) -> None:
        """Recognise these bytes as that update."""
        self.known[key] = update
        update.keys.append(key)

    def forget(self, update: Update) -> None:
        """Remove an update that has not been received for a while."""
        for key in update.keys:
            self.known.pop(key, None)


class Connection(asyncio.Protocol, ABC):
    """A connection that watches items. ``number`` is unique in the run; ``slow``: it rarely reads."""

    __slots__ = (
        "_context",
        "_rest",
        "closing",
        "due",
        "failure",
        "fast_path",
        "number",
        "own_reactions",
        "retry_after",
        "shown",
        "slow",
        "token",
        "transport",
        "up",
    )

    def __init__(
        self, context: ConnectionContext, number: int, items: Iterable[int], token: str | None, slow: bool
    ) -> None:
        self._context = context
        self._rest = b""
        self.number = number
        self.token = token
        self.slow = slow
        self.shown: dict[int, Update] = dict.fromkeys(items, NO_UPDATE)
        # By item, for reactions sent here: how many are pending, and the version of the last answer.
        self.own_reactions: dict[int, list[int]] | None = None
        self.transport: asyncio.Transport | None = None
        self.due = 0
        self.up = False
        self.closing = False
        self.retry_after: float | None = None
        self.failure = ""
        # A known update needs no further checks: no partial frame, no reaction of its own, not slow.
        self.fast_path = False

    def update_fast_path(self) -> None:
        """Set ``fast_path`` after a change of what it depends on."""
        self.fast_path = self.up and not (self._rest or self.own_reactions or self.slow)

    def on_update(self, update: Update) -> None:
        """Handle a ``counts`` message."""
        item, context = update.item, self._context
        last = self.shown.get(item)
        if last is None:
            context.violations.add(NOT_WATCHED, f"{context.items[item]} on connection {self.number}")
            return
        if last is not NO_UPDATE and not update.reset and update.version <= last.version:
            self._add_violation(last, update)
            return
        self.shown[item] = update
        if update.reset:
            context.resets += 1
        if last is NO_UPDATE or update.reset or self.slow or not self.up:
            context.untimed += 1
        elif self.own_reactions and item in self.own_reactions:
            update.received_own.append((last.version, now(), self.number))
            self._check_own_reaction(item)
        else:
            if update.previous is UNKNOWN:
                update.previous = last
            if last is update.previous:
                update.received.append(now())
            else:
                update.received_after.append((last.version, now()))

    def on_sent(self, item: int) -> None:
        """Note that this visitor's reaction to an item was sent."""
        if item in self.shown:
            self.own_reactions = self.own_reactions or {}
            self.own_reactions.setdefault(item, [0, 0])[0] += 1
            self.update_fast_path()

    def on_answered(self, item: int, version: int) -> None:
        """Note that it was answered, by an ack with this version or by an error (0)."""
        own = self.own_reactions.get(item) if self.own_reactions else None
        if own is not None:
            own[0] -= 1
            own[1] = max(own[1], version)
            self._check_own_reaction(item)

    @abstractmethod
    def disconnect(self, clean: bool) -> None:
        """Close the connection on purpose, with its closing handshake or without."""

    def on_disconnected(self) -> None:
        """Reset the state that belongs to one transport connection."""
        self.transport = None
        self.up = self.closing = False
        self._rest = b""
        self.own_reactions = None
        self.update_fast_path()

    def _check_own_reaction(self, item: int) -> None:
        """Forget a reaction of its own when the shown update includes it."""
        if (
            self.own_reactions
            and (own := self.own_reactions.get(item))
            and own[0] <= 0
            and self.shown[item].version >= own[1]
        ):
            del self.own_reactions[item]
            self.update_fast_path()

    def _add_violation(self, last: Update, update: Update) -> None:
        item = self._context.items[update.item]
        where = f"{item} on connection {self.number}: {last.version} → {update.version}"
        if update.version < last.version:
            self._context.violations.add(WENT_DOWN, where)
        elif update.counts == last.counts:
            self._context.violations.add(REPEATED, where)
        else:
            self._context.violations.add(TWO_COUNTS, where)
