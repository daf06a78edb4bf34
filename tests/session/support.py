"""A session between a connection that records and a store that answers when the test says so.

The hub, the guard and the codec are the real ones. Every order of events can be tried.
"""

import dataclasses
import json
from typing import Any

from tallycast.access.guard import Guard
from tallycast.contract.codec import JSON
from tallycast.contract.errors import CloseCode, Refusal, Unavailable
from tallycast.domain.rates import Rate
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Key, issue
from tallycast.fanout.topic import Topic, no_broadcast
from tallycast.ledger.merge import Merge
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import Committed, SetReaction
from tallycast.session.session import Session
from tallycast.transport.registry import Transport
from tallycast.transport.timer_wheel import TimerWheel

from tests.support.limits import LOOSE
from tests.support.names import NAMES
from tests.support.parts import Parts
from tests.support.signing import SECRET

SITE = Site(limits=LOOSE)
GONE = Unavailable("gone", retry_after=2.0)


class Connection:
    """What the session wrote and asked for."""

    def __init__(self) -> None:
        self.blocked = False
        self.held = False
        self.closed: CloseCode | None = None
        self.frames: list[dict[str, Any]] = []
        self.missed: set[Topic] = set()

    def write(self, data: bytes) -> None:
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4]), 4
            self.frames.append(json.loads(data[start : start + size]))
            data = data[start + size :]

    transport = Transport("recorded", JSON, no_broadcast)

    def deliver(self, frame: bytes) -> bool:
        if not self.blocked:
            self.write(frame)
        return not self.blocked

    def mark_stale(self, topic: Topic) -> None:
        self.missed.add(topic)

    def drain(self) -> None:
        self.blocked = False
        missed, self.missed = self.missed, set()
        for topic in missed:
            topic.deliver_latest(self)

    def on_watching(self, items: int) -> None:
        """Of no interest."""

    def pause_reading(self) -> None:
        self.held = True

    def resume_reading(self) -> None:
        self.held = False

    def close(self, code: CloseCode) -> None:
        self.closed = code


class Store:
    """Reactions and queries wait here until the test answers them."""

    def __init__(self) -> None:
        self.written: list[SetReaction] = []
        self.queries: list[Query] = []
        self.merges: list[Merge] = []
        # The answer about a visitor without items.
        self.gone: Refusal | None = None
        self.held: dict[str, str] = {}
        self.counts = {"like": 1, "dislike": 0}
        self.version = 100

    def confirm(self, number: int = 1) -> None:
        for _ in range(number):
            self.version += 1
            self.written.pop(0).done(Committed(self.version, self.counts))

    def ask(self, query: Query) -> None:
        if query.items:
            self.queries.append(query)
        else:
            query.done([] if self.gone is None else self.gone)

    def answer(self) -> None:
        query = self.queries.pop(0)
        held = self.held if query.visitor is not None else {}
        query.done([State(self.version, self.counts, held.get(item)) for item in query.items])

    def fail(self) -> None:
        self.queries.pop(0).done(GONE)


class Talk:
    """A session and everything around it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.ready = True
        self.store = Store()
        self.timers = TimerWheel(lambda: self.now)
        self.guard = Guard({"default": SITE}, b"s" * 32, lambda: self.now)
        self.parts = Parts(
            lambda: self.now,
            guard=self.guard,
            timers=self.timers,
            write=self.store.written.append,
            read=self.store.ask,
            merge=self.store.merges.append,
            live=lambda: self.ready,
        )
        self.visitor, self.token, self.expires = self.guard.new_visitor(SITE)
        self.session, self.line = self.another()

    def another(self) -> tuple[Session, Connection]:
        line = Connection()
        session = self.parts.open_session(line, SITE, JSON)
        session.open(None)
        return session, line

    def say(self, type: str, **fields: Any) -> None:  # noqa: A002
        self.session.queue.received(json.dumps({"type": type, **fields}).encode(), False)

    def messages(self) -> list[dict[str, Any]]:
        frames, self.line.frames = self.line.frames, []
        return frames

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.messages()]

    def publish(self, item: str, version: int) -> None:
        self.parts.hub.publish(NAMES.item_channel("default", item), version, self.store.counts)


def published(talk: Talk) -> str:
    """A token of a publisher that the site has from here on."""
    site = Site(keys=(Key("HS256", SECRET, None, SECRET.encode()),))
    talk.guard.sites = {"default": site}
    talk.session.on_tick()
    return issue("7", "default", site.keys[0], talk.now, 600)  # type: ignore[arg-type]


def scarce(talk: Talk, **limits: Rate) -> None:
    """From the next visit on the site has these limits."""
    site = dataclasses.replace(SITE, limits=dataclasses.replace(LOOSE, **limits))
    talk.guard.sites = {"default": site}
    talk.session.on_tick()


def pass_time(talk: Talk, seconds: float) -> None:
    talk.now += seconds
    talk.timers.advance()
