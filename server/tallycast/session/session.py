"""A conversation on one WebSocket: what each message of the contract does.

Owns the watched items; whom the connection speaks for is a ``Visitor``'s, and when a message has its turn is
said by ``MessageQueue``. Must not know frames, TCP or uvicorn: it is given whole messages and a line to write
ready-made frames to.
"""

from collections.abc import Callable, Mapping
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
from tallycast.domain.sites import Site
from tallycast.fanout.topic import UNKNOWN, Topic
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import Committed, SetReaction
from tallycast.services.services import Rooms
from tallycast.session.connection import Connection
from tallycast.session.identity import Visitor
from tallycast.session.queue import MessageQueue, Ref
from tallycast.signals.choice import check_reaction

TOKEN_GRACE = 25.0


class Session(MessageQueue):
    """One connection's state. Without a task: it acts when a message, an update or an answer comes."""

    __slots__ = ("_owed", "_topics", "_visitor")

    def __init__(self, rooms: Rooms, connection: Connection, site: Site, wire: Wire) -> None:
        super().__init__(rooms, connection, site, wire)
        # Nobody, until an ``auth``.
        self._visitor: Visitor | None = None
        self._topics: dict[str, Topic] = {}
        # What most connections never need is made when it is needed.
        self._owed: dict[str, int | None] | None = None

    # From the line

    def open(self, item: str | None) -> None:
        """The handshake is done; ``item`` is watched from the start."""
        if item is not None:
            self._busy = True
            self._watch([item], {}, None)

    def on_tick(self) -> None:
        """About a second has passed."""
        if self._rooms.guard.sites.get(self._site.name) is not self._site and not self._adopt():
            return
        if self._visitor is not None and self._visitor.expired(TOKEN_GRACE):
            self._dismiss("the token has expired")
        if self._owed and not self._busy and not self._waiting and self._rooms.ready():
            self._catch_up()

    def _adopt(self) -> bool:
        """The sites were read again: go by what this one says now; ``False`` when it is served no more."""
        site = self._rooms.guard.sites.get(self._site.name)
        if site is None:
            self._connection.close(CloseCode.UNKNOWN_SITE)
            return False
        self._site = site
        if self._visitor is not None and not self._visitor.welcome(site):
            self._dismiss("this site does not take such tokens any more")
        return True

    def swept_at(self) -> float:
        """When an update of a watched item was brought last, on the monotonic clock."""
        return max((topic.swept_at for topic in self._topics.values()), default=0.0)

    def beat(self) -> None:
        """Nothing was sent for a while."""
        self._send(Beat())

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        self._send(Bye(retry_after))

    def gone(self) -> None:
        """The connection is over."""
        super().gone()
        self._forget()
        self._owed = None
        for topic in self._topics.values():
            self._rooms.hub.unsubscribe(topic, self._connection)
        self._topics.clear()

    # From the people

    def on_reaction(self, item: str, version: int, reaction: str | None, origin: int) -> None:
        """The visitor's reaction changed; told when it was elsewhere and the item is watched here."""
        here = self._visitor is not None and self._visitor.origin == origin
        if not here and item in self._topics and not self._connection.blocked:
            self._send(Mine(item, version, reaction))

    def on_retired(self) -> None:
        """The visitor has become an account, here or elsewhere, and is no more."""
        if self._visitor is not None:
            self._dismiss("this anonymous visitor has become an account")

    def on_revoked(self, at: float) -> None:
        """What the visitor was issued until then holds no more (seconds since 1970)."""
        if self._visitor is not None and self._visitor.issued_by(at):
            self._dismiss("the token was revoked")

    # Each kind of message

    def _act(self, message: ClientMessage) -> None:
        match message:
            case React():
                self._react(message)
            case Watch():
                self._on_watch(message)
            case Unwatch():
                self._unwatch(message)
            case Auth():
                self._auth(message)
            case Ping():
                self._send(Pong(message.ref))

    def _too_fast(self, message: ClientMessage, refusal: RateLimited) -> None:
        if isinstance(message, Auth):
            self._forget()  # As with any that fails: what follows must not be taken for somebody else's.
        super()._too_fast(message, refusal)

    # react

    def _react(self, message: React) -> None:
        item = self._site.check_item(message.item)
        visitor = self._visitor
        if visitor is None:
            raise Unauthorized("say who you are first: auth", item=item)
        try:
            check_reaction(message.reaction, self._site.kinds)
            self._budget.reaction(self._site.limits, self._rooms.timers.now)
            self._rooms.admission.reaction(visitor.channel, self._site.limits.reactions)
        except Refusal as refusal:
            refusal.item = item
            raise
        self._under_way += 1
        done = partial(self._reacted, message)
        self._rooms.write(
            SetReaction(self._site, item, visitor.member, message.reaction, visitor.origin, done)
        )

    def _reacted(self, message: React, answer: Committed | Refusal) -> None:
        self._under_way -= 1
        self._rooms.stats.reacted(answer)
        if self._closed:
            return
        if isinstance(answer, Refusal):
            self._refuse(answer, message.ref, message.item)
        else:
            self._send(Ack(message.item, message.reaction, answer.version, answer.counts, message.ref))
        self._proceed()

    # watch

    def _on_watch(self, message: Watch) -> None:
        items = self._rooms.guard.check_items(self._site, message.items)
        self._rooms.guard.check_watched(self._site, len(self._topics.keys() | items))
        self._budget.ids(self._site.limits, self._rooms.timers.now, len(items))
        self._busy = True
        self._watch(items, message.since or {}, message.ref)

    def _catch_up(self) -> None:
        """Watch again what had to be refused while the engine was away."""
        self._busy = True
        owed = self._owed or {}
        self._watch(list(owed), {item: since for item, since in owed.items() if since is not None}, None)

    def _watch(self, items: list[str], since: Mapping[str, int], ref: Ref | None) -> None:
        """Watch items and show them. ``ref`` is ``None`` when no message asked for it."""
        for item in items:
            if item not in self._topics:
                self._topics[item] = self._rooms.hub.subscribe(self._site, item)
        self._connection.watches_many = len(self._topics) > 1
        topics = [self._topics[item] for item in items]
        visitor = self._visitor.id if self._visitor is not None else None
        # What is known here is good enough for a stranger while updates come in: what it may lack is on its
        # way. To compare with what the stranger shows, the store itself is needed.
        trusted = self._rooms.ready()
        wanted = [
            topic
            for topic in topics
            if visitor is not None or topic.version == UNKNOWN or topic.item in since or not trusted
        ]
        done = partial(self._watched, topics, since, ref)
        if wanted:
            self._read(wanted, visitor, done)
        else:
            done({})

    def _watched(
        self,
        topics: list[Topic],
        since: Mapping[str, int],
        ref: Ref | None,
        answer: dict[str, State] | Refusal,
    ) -> None:
        items = [topic.item for topic in topics]
        if isinstance(answer, Unauthorized):
            # The visitor has become an account in another tab, and nobody has said so yet.
            self.on_retired()
            self._watch([item for item in items if item in self._topics], since, ref)
            return
        if isinstance(answer, Refusal):
            # A refused watch stands: the snapshot follows when the engine is back.
            owed = self._owed or {}
            newly = ref is not None or not owed.keys() >= set(items)
            self._owed = owed | {item: since.get(item) for item in items}
            if newly:
                self._refuse(answer, UNSET if ref is None else ref, items[0] if len(items) == 1 else None)
        else:
            if self._owed is not None:
                self._owed = {item: shown for item, shown in self._owed.items() if item not in items} or None
            out = [self._snapshot(topic, since.get(topic.item)) for topic in topics]
            out += self._held(answer)
            if ref is not None:
                out.append(self._wire.frame(Watching(ref)))
            self._connection.write(b"".join(out))
        self._busy = False
        self._proceed()

    def _snapshot(self, topic: Topic, since: int | None) -> bytes:
        """From here on updates are delivered; the frame is what the client lacks until then."""
        shown = max(topic.attach(self._connection), UNKNOWN if since is None else since)
        if since == topic.version:
            return b""
        return topic.frame(self._wire.index, reset=shown > topic.version)

    def _held(self, states: Mapping[str, State]) -> list[bytes]:
        return [
            self._wire.frame(Mine(item, state.version, state.reaction))
            for item, state in states.items()
            if state.reaction is not None
        ]

    def _unwatch(self, message: Unwatch) -> None:
        for item in self._rooms.guard.check_items(self._site, message.items):
            topic = self._topics.pop(item, None)
            if topic is not None:
                if self._owed is not None:
                    self._owed.pop(item, None)
                self._rooms.hub.unsubscribe(topic, self._connection)
        self._connection.watches_many = len(self._topics) > 1
        self._send(Unwatched(message.ref))

    # auth

    def _auth(self, message: Auth) -> None:
        # Every auth replaces the identity before it, and a failed one leaves none.
        self._forget()
        limits, now = self._site.limits, self._rooms.timers.now
        if ahead := self._budget.messages(limits, now, AUTH_COST - 1):
            raise RateLimited("too many messages", retry_after=ahead)
        self._budget.ids(limits, now, len(self._topics))  # All are looked at again.
        self._busy = True
        visitor = self._visitor = Visitor(self._rooms, self._site, self)
        merge = None if message.merge is UNSET else message.merge
        visitor.sign_in(message.token, merge, partial(self._signed_in, visitor, message.ref))

    def _signed_in(self, visitor: Visitor, ref: Ref, refusal: Refusal | None) -> None:
        """Show what the visitor holds. An anonymous one may be retired, which only the store knows."""
        if self._closed:
            return
        if refusal is None and self._visitor is not visitor:
            refusal = Unauthorized("the token was revoked")  # while it was merged
        if refusal is not None:
            self._forget()
            self._refuse(refusal, ref)
        elif self._topics:
            self._read(list(self._topics.values()), visitor.id, partial(self._shown, visitor, ref))
            return
        elif visitor.anonymous:
            # Only the answer waits for the store: who is retired is granted no wish anyway.
            self._read([], visitor.id, partial(self._authed, visitor, ref))
        else:
            self._authed(visitor, ref, {})
        self._busy = False
        self._proceed()

    def _shown(self, visitor: Visitor, ref: Ref, answer: dict[str, State] | Refusal) -> None:
        """What is held on watched items was read; what came after the ``auth`` has waited for it."""
        self._busy = False
        self._authed(visitor, ref, answer)
        self._proceed()

    def _authed(self, visitor: Visitor, ref: Ref, answer: dict[str, State] | Refusal) -> None:
        if isinstance(answer, Refusal):
            if self._visitor is visitor:
                self._forget()
            self._refuse(answer, ref)
            return
        out = self._held(answer)
        out.append(self._wire.frame(Ready(visitor.id, ref)))
        self._connection.write(b"".join(out))

    def _forget(self) -> None:
        """Be anonymous."""
        visitor, self._visitor = self._visitor, None
        if visitor is not None:
            visitor.leave()

    def _dismiss(self, why: str) -> None:
        """Be anonymous from here on, and say so, though nothing was asked."""
        self._forget()
        self._refuse(Unauthorized(why), UNSET)

    # Reading

    def _read(
        self, topics: list[Topic], visitor: str | None, done: Callable[[dict[str, State] | Refusal], None]
    ) -> None:
        """Read the stored state of topics, let the hub know, then go on with ``done``."""
        floors = [topic.version for topic in topics]

        def answered(answer: list[State] | Refusal) -> None:
            if isinstance(answer, Refusal):
                if not self._closed:
                    done(answer)
                return
            for topic, floor, state in zip(topics, floors, answer, strict=True):
                self._rooms.hub.reconcile(topic.channel, state.version, state.counts, floor)
            if not self._closed:
                done({topic.item: state for topic, state in zip(topics, answer, strict=True)})

        self._rooms.read(Query(self._site, [topic.item for topic in topics], visitor, answered))
