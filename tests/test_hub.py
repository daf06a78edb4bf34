"""The hub: what subscribers get, and what the supply is asked for."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.hub import LINGER, UNKNOWN, Hub, People, Topic
from server.rules.sites import Site

SITE = Site()


def name(site: str, item: str) -> bytes:
    return f"{site}/{item}".encode()


def counts(like: int) -> dict[str, int]:
    return {"like": like}


class Reader:
    """A subscriber that remembers what it was told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int, bool]] = []

    def deliver(self, topic: Topic, reset: bool) -> None:
        self.got.append((topic.item, topic.version, reset))


class Setup:
    """A hub with a supply that is written down and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.followed: list[bytes] = []
        self.left: list[bytes] = []
        self.hub = Hub(name, self.followed.append, self.left.append, lambda: self.now)

    def watch(self, subscriber: Reader, item: str) -> Topic:
        topic = self.hub.hold(SITE, item)
        topic.subscribers.add(subscriber)
        return topic


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_subscribers_get_what_rises_and_nothing_else(setup: Setup) -> None:
    reader, other = Reader(), Reader()
    setup.watch(reader, "a")
    setup.watch(other, "b")
    for version in (5, 5, 4, 7, 6, 7, 8):
        setup.hub.publish(b"default/a", version, counts(version))
    assert [version for _, version, _ in reader.got] == [5, 7, 8]
    assert other.got == []


def test_version_zero_is_news_to_who_knows_nothing(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    assert topic.version == UNKNOWN
    setup.hub.publish(b"default/a", 0, {})
    assert reader.got == [("a", 0, False)]
    assert topic.counts == {"like": 0, "dislike": 0}


def test_a_frame_is_made_once_for_all(setup: Setup) -> None:
    topic = setup.watch(Reader(), "a")
    setup.hub.publish(b"default/a", 3, {"like": 2, "gone": 9})
    assert topic.frame(0) is topic.frame(0)
    assert topic.frame(0) != topic.frame(1)
    message = {"type": "counts", "item": "a", "version": 3, "counts": {"like": 2, "dislike": 0}}
    assert json.loads(topic.frame(0)[2:]) == message
    assert json.loads(topic.frame(0, reset=True)[2:]) == message | {"reset": True}
    old = topic.frame(0)
    setup.hub.publish(b"default/a", 4, counts(1))
    assert topic.frame(0) != old


def test_a_store_that_went_back_is_pushed_as_a_reset(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    setup.hub.publish(b"default/a", 9, counts(9))
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    assert reader.got == [("a", 9, False), ("a", 4, True)]
    assert topic.counts["like"] == 4
    setup.hub.publish(b"default/a", 5, counts(5))
    assert reader.got[-1] == ("a", 5, False)


def test_a_read_that_was_overtaken_is_no_reset(setup: Setup) -> None:
    reader = Reader()
    setup.watch(reader, "a")
    setup.hub.publish(b"default/a", 4, counts(4))
    floor = setup.hub.version(b"default/a")
    setup.hub.publish(b"default/a", 9, counts(9))
    setup.hub.reconcile(b"default/a", 4, counts(4), floor)
    setup.hub.reconcile(b"default/a", 3, counts(3), floor)
    assert reader.got == [("a", 4, False), ("a", 9, False)]


def test_supply_starts_with_the_first_and_ends_a_while_after_the_last(setup: Setup) -> None:
    first, second = Reader(), Reader()
    topic = setup.watch(first, "a")
    assert setup.watch(second, "a") is topic
    assert setup.followed == [b"default/a"]
    setup.hub.release(topic, first)
    setup.now = LINGER * 5
    setup.hub.sweep()
    assert setup.left == []
    setup.hub.release(topic, second)
    setup.now += LINGER / 2
    setup.hub.sweep()
    assert setup.left == []
    assert setup.watch(first, "a") is topic, "who comes back in time finds it as it was"
    setup.hub.release(topic, first)
    setup.now += LINGER + 1
    setup.hub.sweep()
    assert setup.left == [b"default/a"]
    assert len(setup.hub) == 0
    setup.hub.publish(b"default/a", 5, counts(5))
    assert setup.hub.version(b"default/a") == UNKNOWN


def test_who_has_left_gets_nothing_more(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    setup.hub.release(topic, reader)
    setup.hub.publish(b"default/a", 5, counts(5))
    assert reader.got == []


def test_a_subscriber_may_leave_while_it_is_told(setup: Setup) -> None:
    told: list[str] = []

    class Quitter(Reader):
        def deliver(self, topic: Topic, reset: bool) -> None:
            told.append(topic.item)
            setup.hub.release(topic, self)

    for _ in range(3):
        setup.watch(Quitter(), "a")
    setup.hub.publish(b"default/a", 1, counts(1))
    setup.hub.publish(b"default/a", 2, counts(2))
    assert told == ["a"] * 3


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 20)), max_size=60))
def test_versions_rise_for_everyone_whatever_comes(events: list[tuple[str, int, int]]) -> None:
    setup = Setup()
    readers = [Reader() for _ in range(3)]
    topics: dict[tuple[int, str], Topic] = {}
    best: dict[str, int] = {}
    for item, who, version in events:
        if who == 3:
            setup.hub.publish(name("default", item), version, counts(version))
            if any(key[1] == item for key in topics):
                best[item] = max(best.get(item, UNKNOWN), version)
        elif (who, item) in topics:
            setup.hub.release(topics.pop((who, item)), readers[who])
        else:
            topics[who, item] = setup.watch(readers[who], item)
            readers[who].got.append((item, -2, False))
    for reader in readers:
        for item in "ab":
            last = UNKNOWN
            for _, version, _ in (got for got in reader.got if got[0] == item):
                assert version == -2 or version > last
                last = version if version >= 0 else last
    for (_, item), topic in topics.items():
        if item in best:
            assert topic.version >= best[item] or topic.version == UNKNOWN


def test_people_hear_of_their_own_wherever_they_are() -> None:
    followed: list[bytes] = []
    left: list[bytes] = []
    people = People(followed.append, left.append)
    heard: list[tuple[str, str | None]] = []

    class Tab:
        def __init__(self, name: str) -> None:
            self.name = name

        def hear(self, item: str, version: int, reaction: str | None, origin: int) -> None:
            heard.append((self.name, reaction))

    one, two, other = Tab("one"), Tab("two"), Tab("other")
    join: Callable[..., None] = people.join
    join(b"me", one)
    join(b"me", two)
    join(b"you", other)
    assert followed == [b"me", b"you"]
    people.tell(b"me", "a", 1, "like", 0)
    people.tell(b"nobody", "a", 1, "like", 0)
    assert sorted(heard) == [("one", "like"), ("two", "like")]
    people.part(b"me", one)
    people.part(b"me", two)
    assert left == [b"me"]
    people.tell(b"me", "a", 2, None, 0)
    assert len(heard) == 2
