"""A conversation with one client: what each message of the contract does.

Owns the connection's state between messages. Does not depend on frames, TCP or uvicorn: a connection hands
over whole messages, and writes whole frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import UNSET

from tallycast.contract.codec import Wire
from tallycast.contract.errors import CloseCode, RateLimited, Refusal, Unauthorized
from tallycast.contract.messages import (
    Ack,
    Auth,
    Beat,
    Bye,
    ClientMessage,
    Mine,
    Ping,
    Pong,
    React,
    Ready,
    Unwatch,
    Unwatched,
    Watch,
    Watching,
)
from tallycast.domain.limits import AUTH_COST
from tallycast.domain.rates import Clock
from tallycast.domain.sites import Site
from tallycast.services.reactions import Committed
from tallycast.services.subscriptions import States
from tallycast.session.budget import Budget
from tallycast.session.identity import Visitor
from tallycast.session.ports import Accounts, Connection, Reactions, Subscriptions
from tallycast.session.queue import MessageQueue, Ref
from tallycast.signals.choice import check_reaction

TOKEN_GRACE = 25.0


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What the sessions of a worker share. ``clock`` is for the rate limits."""

    reactions: Reactions
    subscriptions: Subscriptions
    accounts: Accounts
    clock: Clock


class Session:
    """The state of one connection. It has no task: it acts on messages, updates and answers.

    ``queue`` is where the connection puts messages.
    """

    __slots__ = (
        "_connection",
        "_context",
        "_site",
        "_subscription",
        "_visitor",
        "queue",
    )

    def __init__(self, context: SessionContext, connection: Connection, site: Site, wire: Wire) -> None:
        self._context = context
        self._connection = connection
        self._site = site
        self._subscription = context.subscriptions.open(connection)
        self.queue = MessageQueue(self, connection, wire, Budget(site.limits, context.clock))
        # Unauthenticated until ``auth``.
        self._visitor: Visitor | None = None

    # Called by the connection

    def open(self, item: str | None) -> None:
        """The connection is open; ``item`` is watched from the start."""
        if item is not None:
            self.queue.begin_read()
            self._watch([item], {}, None)

    def on_tick(self) -> None:
        """About a second has passed."""
        if self._subscription.site(self._site.name) is not self._site and not self._update_site():
            return
        if self._visitor is not None and self._visitor.expired(TOKEN_GRACE):
            self._sign_out("the token has expired")
        if self._subscription.can_catch_up and self.queue.idle:
            self.queue.begin_read()
            items, since = self._subscription.overdue()
            self._watch(items, since, None)

    @property
    def swept_at(self) -> float:
        """When an update of a watched item was last sent (s, monotonic clock)."""
        return self._subscription.swept_at

    def beat(self) -> None:
        """Nothing was sent for a while."""
        self.queue.send(Beat())

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        self.queue.send(Bye(retry_after))

    def close_gracefully(self) -> None:
        """Close the connection as soon as the messages until now are answered."""
        self.queue.close_gracefully()

    def close(self) -> None:
        """The connection is over."""
        self.queue.close()
        self._forget()
        self._subscription.close()

    # Called for the visitor

    def on_reaction(self, item: str, version: int, reaction: str | None, connection_id: int) -> None:
        """Send the visitor's new reaction on a watched item, unless it was set on this connection."""
        here = self._visitor is not None and self._visitor.author.connection_id == connection_id
        if not here and item in self._subscription and not self._connection.blocked:
            self.queue.send(Mine(item, version, reaction))

    def on_retired(self) -> None:
        """The visitor has become an account, on any connection."""
        if self._visitor is not None:
            self._sign_out("this anonymous visitor has become an account")

    def on_revoked(self, at: float) -> None:
        """The tokens that the visitor was issued until then (s since 1970) were revoked."""
        if self._visitor is not None and self._visitor.issued_by(at):
            self._sign_out("the token was revoked")

    # Called by the queue

    def handle(self, message: ClientMessage) -> None:
        """Act on a message."""
        match message:
            case React():
                try:
                    self._react(message)
                except Refusal as refusal:
                    self._context.reactions.record(refusal)
                    raise
            case Watch():
                self._on_watch(message)
            case Unwatch():
                self._unwatch(message)
            case Auth():
                self._auth(message)
            case Ping():
                self.queue.send(Pong(message.ref))

    def too_fast(self, message: ClientMessage) -> None:
        """A message is refused by the rate limit."""
        if isinstance(message, Auth):
            self._forget()  # As after any failed one: later messages must not count for another visitor.

    # react

    def _react(self, message: React) -> None:
        item = self._site.check_item(message.item)
        if self._visitor is None:
            raise Unauthorized("authenticate before reacting: send an auth message", item=item)
        try:
            check_reaction(message.reaction, self._site.kinds)
            self.queue.budget.reaction()
        except Refusal as refusal:
            refusal.item = item
            raise
        # Before the write, because its answer may come at once.
        self.queue.begin()
        done = partial(self._reacted, message)
        try:
            self._context.reactions.set(self._site, item, self._visitor.author, message.reaction, done)
        except Refusal as refusal:
            self.queue.complete()
            refusal.item = item
            raise

    def _reacted(self, message: React, answer: Committed | Refusal) -> None:
        self._context.reactions.record(answer)
        queue = self.queue
        if queue.closed:
            return
        if isinstance(answer, Refusal):
            queue.refuse(answer, message.ref, message.item)
        else:
            queue.send(Ack(message.item, message.reaction, answer.version, answer.counts, message.ref))
        queue.complete()

    # watch

    def _on_watch(self, message: Watch) -> None:
        items = self._subscription.check_watch(self._site, message.items)
        self.queue.budget.ids(len(items))
        self.queue.begin_read()
        self._watch(items, message.since or {}, message.ref)

    def _watch(self, items: Sequence[str], since: Mapping[str, int], ref: Ref | None) -> None:
        """Watch items and send their snapshot. ``ref`` is ``None`` when there was no message for it."""
        visitor = self._visitor.id if self._visitor is not None else None
        done = partial(self._watched, items, since, ref)
        self._subscription.watch(self._site, items, since, visitor, done)
        self._connection.on_watching(len(self._subscription))

    def _watched(
        self, items: Sequence[str], since: Mapping[str, int], ref: Ref | None, answer: States | Refusal
    ) -> None:
        if self.queue.closed:
            return
        if isinstance(answer, Unauthorized):
            # The visitor has become an account in another tab, and the notification is still on its way.
            self.on_retired()
            self._watch(items, since, ref)
            return
        if isinstance(answer, Refusal):
            # A refused watch stands: the snapshot follows when the engine is back.
            first = self._subscription.postpone(items, since)
            if ref is not None or first:
                item = items[0] if len(items) == 1 else None
                self.queue.refuse(answer, UNSET if ref is None else ref, item)
        else:
            frames = self._subscription.snapshot(items, since)
            frames += self._mine(answer)
            if ref is not None:
                frames.append(self.queue.wire.frame(Watching(ref)))
            self._connection.write(b"".join(frames))
        self.queue.complete_read()

    def _mine(self, states: States) -> list[bytes]:
        """The frames of what the visitor holds."""
        frame = self.queue.wire.frame
        return [
            frame(Mine(item, state.version, state.reaction))
            for item, state in states.items()
            if state.reaction is not None
        ]

    def _unwatch(self, message: Unwatch) -> None:
        self._subscription.unwatch(self._site, message.items)
        self._connection.on_watching(len(self._subscription))
        self.queue.send(Unwatched(message.ref))

    # auth

    def _auth(self, message: Auth) -> None:
        # Every auth replaces the identity before it, and a failed one leaves none.
        self._forget()
        budget = self.queue.budget
        if ahead := budget.messages(AUTH_COST - 1):
            raise RateLimited("too many messages", retry_after=ahead)
        budget.ids(len(self._subscription))  # All are read again.
        self.queue.begin_read()
        visitor = self._visitor = Visitor(self._context.accounts, self._site, self)
        merge = None if message.merge is UNSET else message.merge
        visitor.sign_in(message.token, merge, partial(self._signed_in, visitor, message.ref))

    def _signed_in(self, visitor: Visitor, ref: Ref, refusal: Refusal | None) -> None:
        """Send what the visitor holds. Only the store knows whether an anonymous visitor is retired."""
        if self.queue.closed:
            return
        if refusal is None and self._visitor is not visitor:
            refusal = Unauthorized("the token was revoked")  # during the merge
        if refusal is not None:
            self._forget()
            self.queue.refuse(refusal, ref)
        elif self._subscription:
            self._subscription.read_all(self._site, visitor.id, partial(self._read, visitor, ref))
            return
        elif visitor.anonymous:
            # Later messages need not wait: every reaction of a retired visitor is refused anyway.
            self._subscription.read_all(self._site, visitor.id, partial(self._ready, visitor, ref))
        else:
            self._ready(visitor, ref, {})
        self.queue.complete_read()

    def _read(self, visitor: Visitor, ref: Ref, answer: States | Refusal) -> None:
        """What the visitor holds on watched items was read."""
        if self.queue.closed:
            return
        self._ready(visitor, ref, answer)
        self.queue.complete_read()

    def _ready(self, visitor: Visitor, ref: Ref, answer: States | Refusal) -> None:
        if self.queue.closed:
            return
        if isinstance(answer, Refusal):
            if self._visitor is visitor:
                self._forget()
            self.queue.refuse(answer, ref)
            return
        frames = self._mine(answer)
        frames.append(self.queue.wire.frame(Ready(visitor.id, ref)))
        self._connection.write(b"".join(frames))

    # Identity

    def _update_site(self) -> bool:
        """Apply the present configuration of the site; ``False`` when it is served no longer."""
        site = self._subscription.site(self._site.name)
        if site is None:
            self._connection.close(CloseCode.UNKNOWN_SITE)
            return False
        self._site = site
        self.queue.budget.limits = site.limits
        if self._visitor is not None and not self._visitor.accepted_by(site):
            self._sign_out("this site no longer accepts such tokens")
        return True

    def _forget(self) -> None:
        """Be unauthenticated from here on."""
        visitor, self._visitor = self._visitor, None
        if visitor is not None:
            visitor.sign_out()

    def _sign_out(self, reason: str) -> None:
        """Be unauthenticated from here on, and send that."""
        self._forget()
        self.queue.refuse(Unauthorized(reason), UNSET)
