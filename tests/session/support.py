"""A session between a connection that records and a store that answers when the test says so.

The hub, the guard and the codec are the real ones. Every order of events can be tried.
"""

import dataclasses
import json
from typing import Any

from server.errors import CloseCode, Refusal, Unavailable
from server.guard import Guard
from server.ledger.merge import Merge
from server.ledger.reader import Query, State
from server.ledger.writer import Receipt, Wish
from server.protocol.codec import JSON
from server.rules.rates import Rate
from server.rules.sites import Site
from server.rules.tokens import Key, issue
from server.topic import Topic
from server.web.rounds import Rounds
from server.web.session import Session
from tests.support.limits import LOOSE
from tests.support.names import NAMES
from tests.support.rooms import rooms
from tests.support.signing import SECRET

SITE = Site(limits=LOOSE)
GONE = Unavailable("gone", retry_after=2.0)


class Line:
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

    wire = JSON.index

    def take(self, frame: bytes) -> bool:
        if not self.blocked:
            self.write(frame)
        return not self.blocked

    def miss(self, topic: Topic) -> None:
        self.missed.add(topic)

    def drain(self) -> None:
        self.blocked = False
        missed, self.missed = self.missed, set()
        for topic in missed:
            topic.bring(self)

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False

    def close(self, code: CloseCode) -> None:
        self.closed = code


class Store:
    """Wishes and queries wait here until the test answers them."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
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
            self.wishes.pop(0).done(Receipt(self.version, self.counts))

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
        self.rounds = Rounds(lambda: self.now)
        self.guard = Guard({"default": SITE}, b"s" * 32, lambda: self.now)
        self.rooms = rooms(
            lambda: self.now,
            guard=self.guard,
            rounds=self.rounds,
            write=self.store.wishes.append,
            read=self.store.ask,
            merge=self.store.merges.append,
            ready=lambda: self.ready,
        )
        self.visitor, self.token, self.expires = self.guard.newcomer(SITE)
        self.session, self.line = self.another()

    def another(self) -> tuple[Session, Line]:
        line = Line()
        session = Session(self.rooms, line, SITE, JSON)
        session.open(None)
        return session, line

    def say(self, type: str, **fields: Any) -> None:  # noqa: A002
        self.session.received(json.dumps({"type": type, **fields}).encode(), False)

    def heard(self) -> list[dict[str, Any]]:
        frames, self.line.frames = self.line.frames, []
        return frames

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.heard()]

    def publish(self, item: str, version: int) -> None:
        self.rooms.hub.publish(NAMES.item_channel("default", item), version, self.store.counts)


def published(talk: Talk) -> str:
    """A token of a publisher that the site has from here on."""
    site = Site(keys=(Key("HS256", SECRET, None, SECRET.encode()),))
    talk.guard.sites = {"default": site}
    talk.session.visit()
    return issue("7", "default", site.keys[0], talk.now, 600)  # type: ignore[arg-type]


def scarce(talk: Talk, **limits: Rate) -> None:
    """From the next visit on the site has these limits."""
    site = dataclasses.replace(SITE, limits=dataclasses.replace(LOOSE, **limits))
    talk.rooms.guard.sites = {"default": site}
    talk.session.visit()


def pass_time(talk: Talk, seconds: float) -> None:
    talk.now += seconds
    talk.rounds.turn()
