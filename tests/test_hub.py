"""The hub: what subscribers get, and what the supply is asked for."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.hub import LINGER, SLICE, STRIDE, UNKNOWN, Hub, People, Topic
from server.protocol.codec import JSON
from server.rules.sites import Site

SITE = Site()


def name(site: str, item: str) -> bytes:
    return f"{site}/{item}".encode()


def counts(like: int) -> dict[str, int]:
    return {"like": like}


class Reader:
    """A subscriber that remembers what it was told, and may be unable to take anything for a while."""

    wire = JSON.index

    def __init__(self) -> None:
        self.got: list[tuple[str, int, bool]] = []
        self.blocked = False
        self.missed: set[Topic] = set()

    def take(self, frame: bytes, alone: bool) -> bool:
        if self.blocked:
            return False
        update = json.loads(frame[2:])
        self.got.append((update["item"], update["version"], update.get("reset", False)))
        return True

    def miss(self, topic: Topic) -> None:
        self.missed.add(topic)

    def drain(self) -> None:
        """Take what was missed."""
        self.blocked = False
        missed, self.missed = self.missed, set()
        for topic in missed:
            topic.bring(self, alone=False)


class Setup:
    """A hub with a supply that is written down, and a clock and a scheduler that are moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.followed: list[bytes] = []
        self.left: list[bytes] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []
        # What a stride of a sweep costs, in time.
        self.cost = 0.0
        self.hub = Hub(name, self.followed.append, self.left.append, self.later, self.clock)

    def clock(self) -> float:
        self.now += self.cost
        return self.now

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self.planned.append((self.now + delay, call))

    def turn(self) -> None:
        """One turn of the loop: what is due now, but not what that plans."""
        due = [call for when, call in self.planned if when <= self.now]
        self.planned = [(when, call) for when, call in self.planned if when > self.now]
        for call in due:
            call()

    def settle(self) -> None:
        """Let time pass until nothing is left to do."""
        for _ in range(10_000):
            if not self.planned:
                return
            self.now = max(self.now, min(when for when, _ in self.planned))
            self.turn()
        raise AssertionError("it never comes to rest")

    def watch(self, subscriber: Reader, item: str) -> Topic:
        """As a session does: hold the topic, and show the latest where there is one."""
        topic = self.hub.hold(SITE, item)
        topic.attach(subscriber)
        return topic

    def publish(self, item: str, version: int) -> None:
        self.hub.publish(name("default", item), version, counts(version))


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_subscribers_get_what_rises_and_nothing_else(setup: Setup) -> None:
    reader, other = Reader(), Reader()
    setup.watch(reader, "a")
    setup.watch(other, "b")
    for version in (5, 5, 4, 7, 6, 7, 8):
        setup.hub.publish(b"default/a", version, counts(version))
        setup.settle()
    assert [version for _, version, _ in reader.got] == [5, 7, 8]
    assert other.got == []


def test_version_zero_is_news_to_who_knows_nothing(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    assert topic.version == UNKNOWN
    setup.hub.publish(b"default/a", 0, {})
    setup.settle()
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
    setup.settle()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    assert reader.got == [("a", 9, False), ("a", 4, True)]
    assert topic.counts["like"] == 4
    setup.hub.publish(b"default/a", 5, counts(5))
    setup.settle()
    assert reader.got[-1] == ("a", 5, False)


def test_a_read_that_was_overtaken_is_no_reset(setup: Setup) -> None:
    reader = Reader()
    setup.watch(reader, "a")
    setup.hub.publish(b"default/a", 4, counts(4))
    setup.settle()
    floor = setup.hub.version(b"default/a")
    setup.hub.publish(b"default/a", 9, counts(9))
    setup.hub.reconcile(b"default/a", 4, counts(4), floor)
    setup.hub.reconcile(b"default/a", 3, counts(3), floor)
    setup.settle()
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
    setup.publish("a", 4)
    setup.hub.release(topic, reader)
    setup.publish("a", 5)
    setup.settle()
    assert reader.got == []


def test_a_subscriber_with_a_defect_costs_the_others_nothing(setup: Setup) -> None:
    class Faulty(Reader):
        def take(self, frame: bytes, alone: bool) -> bool:
            raise ValueError("a defect")

    before, after = Reader(), Reader()
    for reader in (before, Faulty(), after):
        setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.settle()
    setup.publish("a", 2)
    setup.settle()
    assert before.got == after.got == [("a", 1, False), ("a", 2, False)]


def test_the_first_update_leaves_in_the_same_turn(setup: Setup) -> None:
    reader = Reader()
    setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.turn()
    assert reader.got == [("a", 1, False)]


def test_a_sweep_goes_in_slices_and_lets_others_in(setup: Setup) -> None:
    readers = [Reader() for _ in range(STRIDE * 10)]
    for reader in readers:
        setup.watch(reader, "big")
    other = Reader()
    setup.watch(other, "small")
    setup.cost = SLICE / 2
    setup.publish("big", 1)
    setup.turn()
    reached = sum(bool(reader.got) for reader in readers)
    assert 0 < reached < len(readers), "one slice of time, then the loop's other work"
    setup.publish("small", 1)
    setup.turn()
    setup.turn()
    assert other.got, "a small item does not wait for a big one"
    assert sum(bool(reader.got) for reader in readers) < len(readers)
    setup.settle()
    assert all(reader.got == [("big", 1, False)] for reader in readers)


def test_what_is_newer_overtakes_inside_a_sweep_and_the_others_get_it_next(setup: Setup) -> None:
    readers = [Reader() for _ in range(STRIDE * 10)]
    for reader in readers:
        setup.watch(reader, "a")
    setup.cost = SLICE / 2
    setup.publish("a", 1)
    setup.turn()
    early = [reader for reader in readers if reader.got]
    setup.publish("a", 2)
    setup.publish("a", 3)
    setup.settle()
    assert all(reader.got == [("a", 1, False), ("a", 3, False)] for reader in early)
    late = [reader for reader in readers if reader not in early]
    assert late
    assert all(reader.got == [("a", 3, False)] for reader in late)


def test_a_hot_item_rests_as_long_as_it_was_swept(setup: Setup) -> None:
    """A hundred times the updates cost no more sweeps than fit into half of the time."""

    class Costly(Reader):
        def take(self, frame: bytes, alone: bool) -> bool:
            setup.now += 0.0001
            return super().take(frame, alone)

    readers = [Costly() for _ in range(100)]
    for reader in readers:
        setup.watch(reader, "a")
    version = 0
    while setup.now < 10.0:
        version += 1
        setup.publish("a", version)
        setup.turn()
        setup.now += 0.0001
    setup.settle()
    sweeps = len(readers[0].got)
    assert 0.4 < sweeps * 100 * 0.0001 / setup.now < 0.6
    assert version > 40 * sweeps
    assert all(reader.got[-1] == ("a", version, False) for reader in readers)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("ab"), st.integers(0, 40)),
        st.tuples(st.just("back"), st.sampled_from("ab"), st.integers(0, 40)),
        st.tuples(st.just("watch"), st.sampled_from("ab"), st.integers(0, 5)),
        st.tuples(st.just("block"), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("drain"), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("gone"), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("turn"), st.just(""), st.integers(0, 5)),
    ),
    max_size=80,
)


class Model(Setup):
    """Readers that come, stop, read on and go, and what each may be told and must be told."""

    def __init__(self) -> None:
        super().__init__()
        self.readers = [Reader() for _ in range(6)]
        self.topics: dict[tuple[int, str], Topic] = {}

    def act(self, kind: str, item: str, number: int) -> None:
        who = self.readers[number % 6]
        if kind == "publish":
            self.publish(item, number)
        elif kind == "back":
            channel = name("default", item)
            self.hub.reconcile(channel, number, counts(number), self.hub.version(channel))
        elif kind == "watch" and (number, item) in self.topics:
            self.hub.release(self.topics.pop((number, item)), who)
        elif kind == "watch":
            topic = self.topics[number, item] = self.watch(who, item)
            who.missed.discard(topic)
            who.got.append((item, topic.version, True))
        elif kind == "block":
            who.blocked = True
        elif kind == "drain":
            who.drain()
        elif kind == "gone":
            for key in [key for key in self.topics if key[0] == number]:
                self.hub.release(self.topics.pop(key), who)
        else:
            self.turn()


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_versions_rise_for_everyone_and_everyone_ends_with_the_last(
    events: list[tuple[str, str, int]],
) -> None:
    model = Model()
    for event in events:
        model.act(*event)
        for reader in model.readers:
            assert len(reader.missed) <= 2, "memory is bounded by the items, not by how fast they change"
    for reader in model.readers:
        reader.drain()
    model.settle()
    for number, reader in enumerate(model.readers):
        for item in "ab":
            last = UNKNOWN
            for version, shown_anyway in ((v, r) for i, v, r in reader.got if i == item):
                assert version > last or shown_anyway, "only a reset, or a snapshot, may fall"
                last = version
            topic = model.topics.get((number, item))
            if topic is not None:
                assert last == topic.version
                assert topic.subscribers[reader] == topic.version


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
