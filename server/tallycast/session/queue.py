"""The order of one connection's messages: each takes effect in the order sent, when it need not wait.

Owns the order, the messages that wait, and what is counted of them: those above the rate limit, and invalid
ones. Does not depend on what a message does.

A reaction waits only for a read that is under way; a read (``watch``, ``auth``) waits until every reaction
before it is confirmed, so that it includes them.
"""

from collections import deque
from typing import NamedTuple, Protocol

from msgspec import UNSET, UnsetType

from tallycast.contract.codec import Unreadable, Wire
from tallycast.contract.errors import BadMessage, CloseCode, RateLimited, Refusal
from tallycast.contract.messages import Auth, ClientMessage, Error, React, ServerMessage, Watch
from tallycast.session.budget import Budget
from tallycast.session.ports import Connection

# Reactions under way, and messages that wait, before the connection is read no further.
MAX_UNDER_WAY = 64
MAX_WAITING = 16
MAX_BAD_IN_A_ROW = 10

Ref = int | UnsetType


class _TooFast(NamedTuple):
    """A message above the rate limit."""

    message: ClientMessage
    refusal: RateLimited


_Message = ClientMessage | Unreadable | _TooFast


class _Backlog(deque[_Message]):
    """The messages that wait. ``paused``: so many that the connection is not read."""

    __slots__ = ("paused", "proceeding")

    def __init__(self) -> None:
        super().__init__()
        self.paused = self.proceeding = False


class Handler(Protocol):
    """Acts on messages."""

    def handle(self, message: ClientMessage) -> None:
        """Act on a message whose turn it is.

        What cannot be answered at once is announced with ``begin`` or ``begin_read``, and ends with
        ``complete`` or ``complete_read``.

        Raises:
            Refusal: the message is refused.
        """

    def too_fast(self, message: ClientMessage) -> None:
        """A message whose turn it is was above the rate limit, and is refused."""


class MessageQueue:
    """The messages of one connection; ``handler`` acts on them."""

    __slots__ = (
        "_bad",
        "_busy",
        "_connection",
        "_handler",
        "_leaving",
        "_under_way",
        "_waiting",
        "budget",
        "closed",
        "wire",
    )

    def __init__(self, handler: Handler, connection: Connection, wire: Wire, budget: Budget) -> None:
        self._handler = handler
        self._connection = connection
        self.wire = wire
        self.budget = budget
        # Most connections never need it.
        self._waiting: _Backlog | None = None
        # A read, and reactions, that are not answered yet.
        self._busy = False
        self._under_way = 0
        self._bad = 0
        self.closed = False
        self._leaving = False

    @property
    def idle(self) -> bool:
        """Whether a read may begin: none is under way, and no message waits."""
        return not (self._busy or self._waiting)

    def received(self, payload: bytes, binary: bool) -> None:
        """Queue a whole message."""
        ahead = self._count(1)
        if self.closed or self._leaving:
            return  # Leaving: the message crosses with the close, and the client sees that it has no answer.
        message: _Message
        if binary is not self.wire.binary:
            message = Unreadable(BadMessage(f"{self.wire.subprotocol} has no such frames"))
        else:
            message = self.wire.decode(payload)
        if ahead and not isinstance(message, Unreadable):
            message = _TooFast(message, RateLimited("too many messages", retry_after=ahead))
        if self._waiting or self._must_wait(message):
            if self._waiting is None:
                self._waiting = _Backlog()
            self._waiting.append(message)
            self._throttle()
        else:
            self._handle(message)

    def count_frames(self, frames: int) -> None:
        """Count frames that are no messages of their own: pings, fragments."""
        self._count(frames)

    def begin(self) -> None:
        """A reaction is under way."""
        self._under_way += 1

    def complete(self) -> None:
        """A reaction was answered."""
        self._under_way -= 1
        if self._waiting or self._leaving:
            self._proceed()

    def begin_read(self) -> None:
        """A read is under way."""
        self._busy = True

    def complete_read(self) -> None:
        """A read was answered."""
        self._busy = False
        self._proceed()

    def close_gracefully(self) -> None:
        """Close the connection as soon as the messages until now are answered; ignore later ones."""
        self._leaving = True
        if not (self._under_way or self._busy or self._waiting or self.closed):
            self._connection.close(CloseCode.RESTART)

    def close(self) -> None:
        """Forget the messages, and the handler: the connection is over."""
        self.closed = True
        self._waiting = None
        # The handler has this queue: a cycle that would keep the connection until a garbage collection.
        del self._handler

    # Answers

    def send(self, message: ServerMessage) -> None:
        """Send a message."""
        self._connection.write(self.wire.frame(message))

    def refuse(self, refusal: Refusal, ref: Ref, item: str | None = None) -> None:
        """Send an error."""
        item = refusal.item if refusal.item is not None else item
        self.send(
            Error(
                refusal.code,
                str(refusal),
                ref,
                UNSET if item is None else item,
                UNSET if refusal.retry_after is None else refusal.retry_after,
            )
        )

    # Inside

    def _count(self, frames: int) -> float:
        """Count frames. Returns how long (s) they are ahead of the limit; closes a flooding connection."""
        ahead = self.budget.messages(frames)
        if ahead and self.budget.flooded:
            self._connection.close(CloseCode.ABUSIVE)
        return ahead

    def _must_wait(self, message: _Message) -> bool:
        if self._busy:
            return True
        if isinstance(message, React):
            return self._under_way >= MAX_UNDER_WAY
        return self._under_way > 0 and isinstance(message, Watch | Auth)

    def _proceed(self) -> None:
        """Handle the messages that waited for an answer."""
        waiting = self._waiting
        if waiting is not None:
            if waiting.proceeding:
                return  # The answer came at once; the loop below continues.
            waiting.proceeding = True
            try:
                while waiting and not self.closed and not self._must_wait(waiting[0]):
                    self._handle(waiting.popleft())
            finally:
                waiting.proceeding = False
            self._throttle()
        if self._leaving:
            self.close_gracefully()

    def _throttle(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        full = len(waiting) >= MAX_WAITING
        if full is not waiting.paused and not self.closed:
            waiting.paused = full
            if full:
                self._connection.pause_reading()
            else:
                self._connection.resume_reading()

    def _handle(self, message: _Message) -> None:
        if isinstance(message, Unreadable):
            self._bad = self._bad + 1 if isinstance(message.refusal, BadMessage) else 0
            self.refuse(message.refusal, message.ref)
            if self._bad >= MAX_BAD_IN_A_ROW:
                self._connection.close(CloseCode.ABUSIVE)
            return
        self._bad = 0
        if isinstance(message, _TooFast):
            self._handler.too_fast(message.message)
            self.refuse(message.refusal, message.message.ref)
            return
        try:
            self._handler.handle(message)
        except Refusal as refusal:
            self.refuse(refusal, message.ref)
