"""Which message of a connection has its turn: in the order sent, each when what it must wait for is answered.

Owns the order, the messages that wait, and what is counted of them: those that come too fast, and nonsense.
Must not know what a message does.

A reaction only has to wait for a read that is under way; a read (``watch``, ``auth``) waits until every
reaction before it is confirmed, so that it shows them.
"""

from abc import ABC, abstractmethod
from collections import deque
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from tallycast.contract.codec import Unreadable, Wire
from tallycast.contract.errors import BadMessage, CloseCode, RateLimited, Refusal
from tallycast.contract.messages import Auth, ClientMessage, Error, React, ServerMessage, Watch
from tallycast.domain.sites import Site
from tallycast.services.services import Rooms
from tallycast.session.budget import Budget
from tallycast.session.connection import Connection

# Reactions under way, and messages waiting for their turn, before the line stops reading.
MAX_UNDER_WAY = 64
MAX_WAITING = 16
MAX_BAD_IN_A_ROW = 10

Ref = int | UnsetType


class _TooFast(NamedTuple):
    """A message that came ahead of its time."""

    message: ClientMessage
    refusal: RateLimited


_Message = ClientMessage | Unreadable | _TooFast


class MessageQueue(ABC):
    """One connection's messages in order. ``_act`` does what one of them says."""

    __slots__ = (
        "_bad",
        "_budget",
        "_busy",
        "_closed",
        "_connection",
        "_leaving",
        "_proceeding",
        "_reading_paused",
        "_rooms",
        "_site",
        "_under_way",
        "_waiting",
        "_wire",
    )

    def __init__(self, rooms: Rooms, connection: Connection, site: Site, wire: Wire) -> None:
        self._rooms = rooms
        self._connection = connection
        self._site = site
        self._wire = wire
        self._budget = Budget()
        # Most connections never need it.
        self._waiting: deque[_Message] | None = None
        # A read, and reactions, that are not answered yet.
        self._busy = False
        self._under_way = 0
        self._proceeding = False
        self._reading_paused = False
        self._bad = 0
        self._closed = False
        self._leaving = False

    def received(self, payload: bytes, binary: bool) -> None:
        """A whole message."""
        ahead = self._count(1)
        if self._closed or self._leaving:
            return  # Leaving: it crosses with the close, and its sender sees that it was not answered.
        message: _Message
        if binary is not self._wire.binary:
            message = Unreadable(BadMessage(f"{self._wire.subprotocol} has no such frames"))
        else:
            message = self._wire.decode(payload)
        if ahead and not isinstance(message, Unreadable):
            message = _TooFast(message, RateLimited("too many messages", retry_after=ahead))
        if self._waiting or self._must_wait(message):
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(message)
            self._throttle()
        else:
            self._handle(message)

    def noise(self, frames: int) -> None:
        """So many frames that are no messages of their own: pings, fragments."""
        self._count(frames)

    def leave(self) -> None:
        """Close as soon as what was asked for is answered; nothing more is taken."""
        self._leaving = True
        if not (self._under_way or self._busy or self._waiting or self._closed):
            self._connection.close(CloseCode.RESTART)

    def gone(self) -> None:
        """The connection is over."""
        self._closed = True
        self._waiting = None

    def _count(self, frames: int) -> float:
        """Frames came: how long (s) they are ahead of what may come. Who goes on and on is abusive."""
        now = self._rooms.timers.now
        ahead = self._budget.messages(self._site.limits, now, frames)
        if ahead and self._budget.flooded(self._site.limits, now):
            self._connection.close(CloseCode.ABUSIVE)
        return ahead

    def _must_wait(self, message: _Message) -> bool:
        if self._busy:
            return True
        if isinstance(message, React):
            return self._under_way >= MAX_UNDER_WAY
        return self._under_way > 0 and isinstance(message, Watch | Auth)

    def _proceed(self) -> None:
        """Something was answered: what waited for it may go on."""
        if self._proceeding:
            return  # an answer that came at once; the loop below goes on by itself
        self._proceeding = True
        try:
            while self._waiting and not self._closed and not self._must_wait(self._waiting[0]):
                self._handle(self._waiting.popleft())
        finally:
            self._proceeding = False
        self._throttle()
        if self._leaving:
            self.leave()

    def _throttle(self) -> None:
        full = self._waiting is not None and len(self._waiting) >= MAX_WAITING
        if full is not self._reading_paused and not self._closed:
            self._reading_paused = full
            if full:
                self._connection.pause_reading()
            else:
                self._connection.resume_reading()

    def _handle(self, message: _Message) -> None:
        if isinstance(message, Unreadable):
            self._bad = self._bad + 1 if isinstance(message.refusal, BadMessage) else 0
            self._refuse(message.refusal, message.ref)
            if self._bad >= MAX_BAD_IN_A_ROW:
                self._connection.close(CloseCode.ABUSIVE)
            return
        self._bad = 0
        if isinstance(message, _TooFast):
            self._too_fast(message.message, message.refusal)
            return
        try:
            self._act(message)
        except Refusal as refusal:
            if isinstance(message, React):
                self._rooms.stats.reacted(refusal)
            self._refuse(refusal, message.ref)

    def _too_fast(self, message: ClientMessage, refusal: RateLimited) -> None:
        """A message that came too early has its turn: it is refused."""
        self._refuse(refusal, message.ref)

    @abstractmethod
    def _act(self, message: ClientMessage) -> None:
        """Do what the message says, or raise a ``Refusal``.

        What cannot be answered at once counts as ``_under_way``, or makes the connection ``_busy``; when it
        has been answered ``_proceed`` is called.
        """

    # Answers

    def _send(self, message: ServerMessage) -> None:
        self._connection.write(self._wire.frame(message))

    def _refuse(self, refusal: Refusal, ref: Ref, item: str | None = None) -> None:
        item = refusal.item if refusal.item is not None else item
        self._send(
            Error(
                refusal.code,
                str(refusal),
                ref,
                UNSET if item is None else item,
                UNSET if refusal.retry_after is None else refusal.retry_after,
            )
        )
