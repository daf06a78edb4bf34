"""One conversation: the order of answers, what happens when the engine is away, and who is told what.

The hub, the guard and the codec are the real ones. The line is a recorder, and the store answers when the
test says so, so that every order of events can be tried.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from server.errors import CloseCode, Refusal, Unauthorized, Unavailable
from server.guard import Guard
from server.ledger.keys import member
from server.ledger.merge import Merge
from server.ledger.reader import Query, State
from server.ledger.writer import Receipt, Wish
from server.protocol.codec import JSON
from server.rules.rates import Rate
from server.rules.sites import Site
from server.rules.tokens import Key, issue
from server.topic import Topic
from server.web.rounds import Rounds
from server.web.session import TOKEN_GRACE, Session
from server.web.turns import MAX_UNDER_WAY, MAX_WAITING
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
        # What is said to who is asked for alone, without items.
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


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_watch_is_answered_by_snapshots_and_then_watching(talk: Talk) -> None:
    talk.say("watch", items=["a", "b", "a"], ref=1)
    assert talk.heard() == []
    talk.store.answer()
    assert [(f["type"], f.get("item")) for f in talk.heard()] == [
        ("counts", "a"),
        ("counts", "b"),
        ("watching", None),
    ]


def test_what_is_known_is_answered_at_once(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    session, line = talk.another()
    session.received(b'{"type":"watch","items":["a"]}', False)
    assert [frame["type"] for frame in line.frames] == ["counts", "watching"]
    assert talk.store.queries == []


def test_since(talk: Talk) -> None:
    talk.say("watch", items=["a", "b", "c"], since={"a": 100, "b": 99, "c": 101})
    talk.store.answer()
    frames = talk.heard()
    assert [(f["type"], f.get("item"), f.get("reset")) for f in frames] == [
        ("counts", "b", None),
        ("counts", "c", True),
        ("watching", None, None),
    ]
    # A version above what is known here may simply be newer: the store is asked before a reset is told.
    session, line = talk.another()
    session.received(b'{"type":"watch","items":["a"],"since":{"a":150}}', False)
    talk.store.version = 150
    talk.store.answer()
    assert [frame["type"] for frame in line.frames] == ["watching"]


def test_no_update_comes_before_its_snapshot_and_none_twice(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.publish("a", 100)
    assert talk.heard() == []
    talk.store.answer()
    talk.publish("a", 100)
    talk.publish("a", 105)
    assert [frame.get("version") for frame in talk.heard()] == [100, None, 105]


def test_a_read_that_was_overtaken_shows_the_newer_counts(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.publish("a", 500)
    talk.store.answer()
    assert [frame.get("version") for frame in talk.heard()] == [500, None]


def test_reactions_are_sent_on_without_waiting_and_acked_in_order(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    for ref in range(3):
        talk.say("react", item="a", reaction="like", ref=ref)
    assert [wish.member for wish in talk.store.wishes] == [member(talk.visitor)] * 3
    talk.store.confirm(3)
    assert [(f["type"], f.get("ref")) for f in talk.heard()] == [("ready", None)] + [
        ("ack", i) for i in range(3)
    ]


def test_a_watch_waits_for_the_reactions_before_it(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("react", item="a", reaction="like")
    talk.say("watch", items=["a"], ref=1)
    talk.say("react", item="a", reaction=None, ref=2)
    talk.say("nonsense", ref=3)
    talk.say("ping", ref=4)
    assert talk.store.queries == []
    talk.store.confirm()
    talk.store.held["a"] = "like"
    assert len(talk.store.wishes) == 0, "the reaction after the watch waits for it"
    talk.store.answer()
    assert talk.types() == ["ready", "ack", "counts", "mine", "watching", "error", "pong"]
    talk.store.confirm()
    assert talk.types() == ["ack"]


def test_auth_tells_what_is_held_on_watched_items(talk: Talk) -> None:
    talk.say("watch", items=["a", "b"])
    talk.store.answer()
    talk.heard()
    talk.store.held["b"] = "dislike"
    talk.say("auth", token=talk.token, ref=5)
    talk.store.answer()
    assert talk.heard() == [
        {"type": "mine", "item": "b", "version": 100, "reaction": "dislike"},
        {"type": "ready", "visitor": talk.visitor, "ref": 5},
    ]


def test_a_failed_auth_leaves_nobody(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("auth", token="forged", ref=1)
    talk.say("react", item="a", reaction="like", ref=2)
    assert [(f["type"], f.get("code"), f.get("ref")) for f in talk.heard()] == [
        ("ready", None, None),
        ("error", "unauthorized", 1),
        ("error", "unauthorized", 2),
    ]
    assert talk.store.wishes == []


def test_an_auth_that_cannot_be_read_for_leaves_nobody(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("auth", token=talk.token, ref=1)
    talk.store.fail()
    talk.say("react", item="a", reaction="like", ref=2)
    frames = [frame for frame in talk.heard() if frame["type"] == "error"]
    assert [(f["code"], f["ref"]) for f in frames] == [("unavailable", 1), ("unauthorized", 2)]
    assert frames[0]["retry_after"] > 0


def published(talk: Talk) -> str:
    """A token of the publisher's, whom the site has from here on."""
    site = Site(keys=(Key("HS256", SECRET, None, SECRET.encode()),))
    talk.guard.sites = {"default": site}
    talk.session.visit()
    return issue("7", "default", site.keys[0], talk.now, 600)  # type: ignore[arg-type]


def test_a_merge_comes_before_what_is_shown(talk: Talk) -> None:
    token = published(talk)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.heard()
    talk.say("auth", token=token, merge=talk.token, ref=1)
    talk.say("react", item="b", reaction="like", ref=2)
    assert talk.store.queries == talk.store.wishes == []
    (merge,) = talk.store.merges
    assert (merge.visitor, merge.account) == (member(talk.visitor), member("u:7"))
    merge.done(None)
    talk.store.held["a"] = "like"
    talk.store.answer()
    assert [(f["type"], f.get("visitor")) for f in talk.heard()] == [("mine", None), ("ready", "u:7")]
    assert [wish.member for wish in talk.store.wishes] == [member("u:7")]


@pytest.mark.parametrize("refusal", [GONE, Unauthorized("another's")])
def test_a_merge_that_is_refused_leaves_nobody(talk: Talk, refusal: Refusal) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.store.merges.pop().done(refusal)
    talk.say("react", item="a", reaction="like", ref=2)
    assert [(f["code"], f["ref"]) for f in talk.heard()] == [(refusal.code, 1), ("unauthorized", 2)]


def test_a_merge_needs_a_stranger(talk: Talk) -> None:
    token = published(talk)
    for wrong in ("", "x", token):
        talk.say("auth", token=token, merge=wrong)
        assert [frame["code"] for frame in talk.heard()] == ["unauthorized"]
    talk.now = talk.expires + 86400.0
    talk.say("auth", token=published(talk), merge=talk.token)
    assert len(talk.store.merges) == 1, "as with renewal, one that has expired will do"


def test_who_is_revoked_while_merging_is_not_let_in(talk: Talk) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.rooms.people.revoke(NAMES.visitor_channel("default", member("u:7")), talk.now)
    talk.store.merges.pop().done(None)
    assert [(f["code"], f.get("ref")) for f in talk.heard()] == [("unauthorized", None), ("unauthorized", 1)]


def test_who_is_gone_is_not_answered(talk: Talk) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.session.gone()
    talk.store.merges.pop().done(None)
    assert talk.heard() == []


def test_a_retired_visitor_is_told_once_and_watches_on(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.heard()
    channel = NAMES.visitor_channel("default", member(talk.visitor))
    for _ in range(2):
        talk.rooms.people.retire(channel)
    talk.say("watch", items=["a"])
    talk.store.answer()
    assert talk.types() == ["error", "counts", "watching"]


def test_who_finds_out_only_by_asking_the_store(talk: Talk) -> None:
    """The word did not reach this worker."""
    retired = Unauthorized("an account now")
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"], ref=1)
    talk.store.queries.pop(0).done(retired)
    talk.store.answer()
    assert [(f["type"], f.get("ref")) for f in talk.heard()] == [
        ("ready", None),
        ("error", None),
        ("counts", None),
        ("watching", 1),
    ]
    talk.say("auth", token=talk.token, ref=2)
    talk.store.queries.pop(0).done(retired)
    talk.say("unwatch", items=["a"])
    talk.store.gone = retired
    talk.say("auth", token=talk.token, ref=3)
    frames = [frame for frame in talk.heard() if frame["type"] == "error"]
    assert [(f["code"], f["ref"]) for f in frames] == [("unauthorized", 2), ("unauthorized", 3)]


def test_a_wish_does_not_wait_until_the_store_knows_the_visitor(talk: Talk) -> None:
    asked: list[Query] = []
    talk.rooms = dataclasses.replace(talk.rooms, read=asked.append)
    talk.session, talk.line = talk.another()
    talk.say("auth", token=talk.token, ref=1)
    talk.say("react", item="a", reaction="like", ref=2)
    assert [wish.member for wish in talk.store.wishes] == [member(talk.visitor)]
    other = talk.guard.newcomer(SITE)[1]
    talk.say("auth", token=other, ref=3)
    talk.store.confirm()
    asked.pop(0).done([])
    asked.pop(0).done(Unauthorized("retired"))
    talk.say("react", item="a", reaction="like", ref=4)
    assert [(f["type"], f["ref"]) for f in talk.heard()] == [
        ("ack", 2),
        ("ready", 1),
        ("error", 3),
        ("error", 4),
    ]


def test_only_what_was_issued_before_is_revoked(talk: Talk) -> None:
    talk.say("auth", token=published(talk), ref=1)
    channel = NAMES.visitor_channel("default", member("u:7"))
    talk.rooms.people.revoke(channel, talk.now - 1)
    assert talk.types() == ["ready"]
    talk.rooms.people.revoke(channel, talk.now)
    assert [(f["code"], f.get("ref")) for f in talk.heard()] == [("unauthorized", None)]


def test_a_site_that_is_gone(talk: Talk) -> None:
    talk.guard.sites = {}
    talk.session.visit()
    assert talk.line.closed is CloseCode.UNKNOWN_SITE


def test_a_site_that_was_read_again(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.guard.sites = {"default": Site(kinds=("love",), anonymous=False)}
    talk.session.visit()
    assert [(f["type"], f.get("ref")) for f in talk.heard()] == [("ready", None), ("error", None)]
    talk.session.visit()
    assert talk.heard() == []
    talk.say("auth", token=talk.token)
    assert [f["code"] for f in talk.heard()] == ["forbidden"]


def test_merging_two_strangers_is_forbidden(talk: Talk) -> None:
    other = talk.guard.newcomer(SITE)[1]
    talk.say("auth", token=talk.token, merge=other)
    talk.say("react", item="a", reaction="like")
    assert [frame["code"] for frame in talk.heard()] == ["forbidden", "unauthorized"]


def test_a_refused_watch_stands_until_the_engine_is_back(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a", "b"], ref=1)
    talk.store.fail()
    assert [(f["type"], f.get("code")) for f in talk.heard()] == [("ready", None), ("error", "unavailable")]
    talk.ready = False
    talk.session.visit()
    assert talk.store.queries == []
    talk.ready = True
    talk.session.visit()
    talk.store.fail()
    assert talk.heard() == [], "it was refused once, and that was said"
    talk.store.held["a"] = "like"
    talk.session.visit()
    talk.store.answer()
    assert sorted(frame["type"] for frame in talk.heard()) == ["counts", "counts", "mine"]
    talk.session.visit()
    assert talk.store.queries == []
    talk.publish("b", 300)
    assert talk.types() == ["counts"]


def test_a_refused_watch_remembers_what_was_shown(talk: Talk) -> None:
    """The store was restored while the engine was away: what the client shows is newer than it."""
    talk.say("watch", items=["a"], since={"a": 500})
    talk.store.fail()
    talk.heard()
    talk.session.visit()
    talk.store.answer()
    assert [(f["version"], f.get("reset")) for f in talk.heard()] == [(100, True)]


def test_a_stranger_is_shown_the_store_when_updates_may_be_missing(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.ready = False
    session, _ = talk.another()
    session.received(b'{"type":"watch","items":["a"]}', False)
    assert len(talk.store.queries) == 1


def test_the_item_of_the_address_that_could_not_be_read_is_said(talk: Talk) -> None:
    line = Line()
    session = Session(talk.rooms, line, SITE, JSON)
    session.open("a")
    talk.store.fail()
    assert [(f["code"], f["item"], "ref" in f) for f in line.frames] == [("unavailable", "a", False)]
    session.visit()
    talk.store.answer()
    assert line.frames[1]["type"] == "counts"


def test_other_tabs_are_told_and_the_own_one_is_not(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("react", item="a", reaction="like")
    talk.heard()
    origin = talk.store.wishes[0].origin
    channel = NAMES.visitor_channel(SITE.name, member(talk.visitor))
    talk.rooms.people.tell(channel, "a", 101, "like", origin)
    assert talk.heard() == []
    talk.rooms.people.tell(channel, "a", 102, None, 0)
    talk.rooms.people.tell(channel, "b", 103, "like", 0)
    assert talk.heard() == [{"type": "mine", "item": "a", "version": 102, "reaction": None}]


def test_who_cannot_read_gets_the_latest_when_it_can(talk: Talk) -> None:
    talk.say("watch", items=["a", "b"])
    talk.store.answer()
    talk.heard()
    talk.line.blocked = True
    for version in range(200, 300):
        talk.publish("a", version)
    talk.publish("b", 300)
    assert talk.heard() == []
    talk.line.drain()
    assert sorted((f["item"], f["version"]) for f in talk.heard()) == [("a", 299), ("b", 300)]
    talk.line.drain()
    assert talk.heard() == []


def test_a_reset_is_not_lost_on_who_cannot_read(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.heard()
    talk.line.blocked = True
    talk.rooms.hub.reconcile(NAMES.item_channel("default", "a"), 50, talk.store.counts, floor=100)
    talk.publish("a", 60)
    talk.line.drain()
    assert [(f["version"], f["reset"]) for f in talk.heard()] == [(60, True)]


def test_unwatch_ends_it(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.say("unwatch", items=["a", "never"], ref=2)
    talk.store.answer()
    talk.publish("a", 200)
    assert talk.types() == ["counts", "watching", "unwatched"]


def test_refused_messages_have_no_effect(talk: Talk) -> None:
    talk.say("watch", items=["a", "b\n"], ref=1)
    talk.say("watch", items=[str(i) for i in range(101)], ref=2)
    talk.say("unwatch", items=[""], ref=3)
    assert [(f["code"], f["ref"]) for f in talk.heard()] == [
        ("bad_item", 1),
        ("too_many_items", 2),
        ("bad_item", 3),
    ]
    assert talk.store.queries == []
    assert len(talk.rooms.hub) == 0


def test_a_connection_watches_so_many_items_and_no_more(talk: Talk) -> None:
    for page in range(50):
        talk.say("watch", items=[f"{page}/{i}" for i in range(100)])
        talk.store.answer()
    talk.heard()
    talk.say("watch", items=["one more"], ref=1)
    assert [frame.get("code") for frame in talk.heard()] == ["too_many_items"]
    talk.say("watch", items=["0/0"])
    talk.say("unwatch", items=["0/0"])
    talk.say("watch", items=["one more"])
    talk.store.answer()
    assert talk.types() == ["counts", "watching", "unwatched", "counts", "watching"]


def test_ten_bad_messages_in_a_row_are_enough(talk: Talk) -> None:
    for _ in range(9):
        talk.say("nonsense")
    talk.say("ping")
    for _ in range(9):
        talk.say("nonsense")
    assert talk.line.closed is None
    talk.say("nonsense")
    assert talk.line.closed is CloseCode.ABUSIVE


def test_frames_of_the_other_kind_are_bad_messages(talk: Talk) -> None:
    talk.session.received(b'{"type":"ping"}', True)
    assert [frame["code"] for frame in talk.heard()] == ["bad_message"]


def test_who_sends_faster_than_it_is_answered_is_not_read(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    for ref in range(MAX_UNDER_WAY + MAX_WAITING):
        talk.say("react", item="a", reaction="like", ref=ref)
    assert len(talk.store.wishes) == MAX_UNDER_WAY
    assert talk.line.held
    talk.store.confirm(1)
    assert not talk.line.held
    talk.store.confirm(MAX_UNDER_WAY)
    talk.store.confirm(MAX_WAITING - 1)
    acks = [frame["ref"] for frame in talk.heard() if frame["type"] == "ack"]
    assert acks == list(range(MAX_UNDER_WAY + MAX_WAITING))


def test_thousands_of_messages_that_are_answered_at_once_do_not_pile_up(talk: Talk) -> None:
    """Answers that come at once must not call one another deeper and deeper."""
    refusing: Callable[[Wish], None] = lambda wish: wish.done(GONE)  # noqa: E731
    object.__setattr__(talk.rooms, "write", refusing)
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    for ref in range(5000):
        talk.say("react", item="a", reaction="like", ref=ref)
    talk.store.answer()
    assert [f["ref"] for f in talk.heard() if f.get("code") == "unavailable"] == list(range(5000))


def test_a_token_that_runs_out_leaves_a_stranger_who_goes_on_watching(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.now = talk.expires + TOKEN_GRACE
    talk.session.visit()
    assert "error" not in talk.types()
    talk.now += 1
    talk.session.visit()
    assert [(f["code"], "ref" in f) for f in talk.heard()] == [("unauthorized", False)]
    talk.say("react", item="a", reaction="like")
    talk.publish("a", 200)
    assert [frame.get("code", frame["type"]) for frame in talk.heard()] == ["unauthorized", "counts"]


def test_a_session_that_is_gone_leaves_nothing_behind(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("react", item="a", reaction="like")
    talk.say("watch", items=["b"])
    talk.heard()
    talk.session.gone()
    talk.store.confirm()
    talk.publish("a", 500)
    talk.rooms.people.tell(NAMES.visitor_channel(SITE.name, member(talk.visitor)), "a", 600, None, 0)
    assert talk.heard() == []
    assert talk.store.queries == []
    assert talk.rooms.people._present == {}


def test_an_answer_to_who_is_gone_is_still_taken_by_the_hub(talk: Talk) -> None:
    other, line = talk.another()
    talk.say("watch", items=["a"])
    other.received(b'{"type":"watch","items":["a"]}', False)
    talk.session.gone()
    talk.store.answer()
    talk.store.answer()
    assert [frame["type"] for frame in line.frames] == ["counts", "watching"]
    assert talk.heard() == []


def test_what_is_owed_waits_for_a_read_that_is_under_way(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.store.fail()
    talk.say("auth", token=talk.token, ref=2)
    talk.heard()
    assert len(talk.store.queries) == 1, "the auth's"
    talk.session.visit()
    assert len(talk.store.queries) == 1
    talk.store.answer()
    assert talk.types() == ["ready"]
    talk.session.visit()
    assert len(talk.store.queries) == 1, "now it is watched again"
    talk.store.answer()
    assert talk.types() == ["counts"]


def test_what_is_owed_waits_for_its_turn(talk: Talk) -> None:
    """A watch that waits for a reaction reads the same items itself."""
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"], ref=1)
    talk.store.fail()
    talk.say("react", item="a", reaction="like", ref=2)
    talk.say("watch", items=["a"], ref=3)
    talk.heard()
    talk.session.visit()
    assert talk.store.queries == [], "the watch waits for the reaction, and what is owed behind it"
    talk.store.confirm()
    talk.store.answer()
    assert talk.types() == ["ack", "counts", "watching"]
    talk.session.visit()
    assert talk.store.queries == []


def test_who_left_while_it_was_blocked_is_brought_nothing(talk: Talk) -> None:
    talk.say("watch", items=["a", "b"])
    talk.store.answer()
    talk.line.blocked = True
    talk.publish("a", 500)
    talk.publish("b", 500)
    talk.heard()
    talk.say("unwatch", items=["a"])
    talk.line.drain()
    assert [(frame["type"], frame.get("item")) for frame in talk.heard()] == [
        ("unwatched", None),
        ("counts", "b"),
    ]


# leaving


def test_who_has_nothing_under_way_leaves_at_once(talk: Talk) -> None:
    talk.session.bye(1.5)
    assert talk.line.closed is None
    talk.session.leave()
    assert talk.line.closed is CloseCode.RESTART
    assert talk.heard() == [{"type": "bye", "retry_after": 1.5}]


def test_what_was_asked_for_is_answered_before_it_leaves(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("react", item="a", reaction="like", ref=1)
    talk.say("react", item="b", reaction="like", ref=2)
    talk.say("watch", items=["a"], ref=3)
    talk.session.bye(1.5)
    talk.session.leave()
    talk.session.leave()
    # It crosses with the close: no answer, and no effect.
    talk.say("react", item="c", reaction="like", ref=4)
    assert talk.line.closed is None
    talk.store.confirm(2)
    assert talk.line.closed is None
    talk.store.answer()
    assert talk.line.closed is CloseCode.RESTART
    assert talk.store.wishes == []
    assert [frame.get("ref") for frame in talk.heard() if "ref" in frame] == [1, 2, 3]


def test_what_is_refused_is_answered_too(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.session.leave()
    assert talk.line.closed is None
    talk.store.fail()
    assert talk.line.closed is CloseCode.RESTART
    assert [frame["code"] for frame in talk.heard()] == ["unavailable"]


# Budgets


def scarce(talk: Talk, **limits: Rate) -> None:
    """From the next visit on the site has these limits."""
    site = dataclasses.replace(SITE, limits=dataclasses.replace(LOOSE, **limits))
    talk.rooms.guard.sites = {"default": site}
    talk.session.visit()


def pass_time(talk: Talk, seconds: float) -> None:
    talk.now += seconds
    talk.rounds.turn()


def test_limits_that_were_read_again_hold_on_open_connections(talk: Talk) -> None:
    talk.say(type="auth", token=talk.token)
    scarce(talk, reactions=Rate(1, 2))
    for ref in range(3):
        talk.say(type="react", item="a", reaction="like", ref=ref)
    talk.store.confirm(2)
    told = talk.line.frames[-3:]
    assert [(frame["type"], frame["ref"]) for frame in told] == [("error", 2), ("ack", 0), ("ack", 1)]
    assert (told[0]["code"], told[0]["item"], told[0]["retry_after"]) == ("rate_limited", "a", 1.0)
    pass_time(talk, 1.0)
    talk.say(type="react", item="a", reaction="like", ref=3)
    assert len(talk.store.wishes) == 1


def test_an_auth_that_comes_too_fast_leaves_nobody(talk: Talk) -> None:
    """What follows it must not be taken for a wish of who was there before."""
    talk.say(type="auth", token=talk.token)
    scarce(talk, messages=Rate(1, 12))
    for _ in range(10):
        talk.say(type="ping")
    # One is left, and an auth costs ten; then none is.
    for _ in range(2):
        talk.say(type="auth", token=talk.token, ref=1)
        assert (talk.line.frames[-1]["code"], talk.line.frames[-1]["ref"]) == ("rate_limited", 1)
    pass_time(talk, 30)
    talk.say(type="react", item="a", reaction="like")
    assert talk.line.frames[-1]["code"] == "unauthorized"
    assert not talk.store.wishes
    talk.say(type="auth", token=talk.token, ref=2)
    assert talk.line.frames[-1]["type"] == "ready"


def test_an_auth_shows_every_item_again_and_pays_for_it(talk: Talk) -> None:
    scarce(talk, ids=Rate(1, 5))
    talk.say(type="watch", items=["a", "b", "c"])
    talk.store.answer()
    talk.say(type="auth", token=talk.token, ref=1)
    assert (talk.line.frames[-1]["code"], talk.line.frames[-1]["retry_after"]) == ("rate_limited", 1.0)
    pass_time(talk, 1.0)
    talk.say(type="auth", token=talk.token, ref=2)
    talk.store.answer()
    assert talk.line.frames[-1]["type"] == "ready"


def test_what_is_bad_and_too_much_is_bad(talk: Talk) -> None:
    """Ten in a row end it, however fast they come."""
    scarce(talk, messages=Rate(1, 5))
    for _ in range(9):
        talk.say(type="dance")
    assert talk.line.closed is None
    assert {frame["code"] for frame in talk.line.frames} == {"bad_message"}
    talk.say(type="dance")
    assert talk.line.closed == CloseCode.ABUSIVE


@pytest.mark.parametrize("noise", [1, 7])
def test_who_is_a_whole_burst_ahead_is_abusive(talk: Talk, noise: int) -> None:
    scarce(talk, messages=Rate(1, 10))
    sent = 0
    while talk.line.closed is None:
        talk.session.noise(noise)
        sent += noise
    assert talk.line.closed == CloseCode.ABUSIVE
    assert 20 < sent <= 20 + noise
