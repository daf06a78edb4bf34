"""The hub: what subscribers get, and what the supply is asked for."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import topic as topics
from server.hub import LINGER, SLICE, TURNS, Hub
from server.people import People
from server.protocol.codec import EVENTS, JSON, MSGPACK, WIRES
from server.rules.sites import Site
from server.topic import ROW, UNKNOWN, Topic

SITE = Site()


def name(site: str, item: str) -> bytes:
    return f"{site}/{item}".encode()


def counts(like: int) -> dict[str, int]:
    return {"like": like}


def read(wire: int, frame: bytes) -> dict[str, Any]:
    """The message in a frame: only what was encoded for this wire format can be read."""
    if wire == EVENTS.index:
        return dict(json.loads(frame.partition(b"data: ")[2]))
    body = frame[4:] if frame[1] == 126 else frame[2:]
    return dict(msgpack.unpackb(body) if wire == MSGPACK.index else json.loads(body))


class Reader:
    """A subscriber that remembers what it was told, and may be unable to take anything for a while.

    ``open``: it may be written to with many others at once, as long as it is not blocked.
    """

    def __init__(self, wire: int = JSON.index) -> None:
        self.wire = wire
        self.open = False
        self.got: list[tuple[str, int, bool]] = []
        self.blocked = False
        self.missed: set[Topic] = set()

    def take(self, frame: bytes) -> bool:
        if self.blocked:
            return False
        update = read(self.wire, frame)
        self.got.append((update["item"], update["version"], update.get("reset", False)))
        return True

    def miss(self, topic: Topic) -> None:
        self.missed.add(topic)

    def drain(self) -> None:
        """Take what was missed."""
        self.blocked = False
        missed, self.missed = self.missed, set()
        for topic in missed:
            topic.bring(self)


class Setup:
    """A hub with a supply that is written down, and a clock and a scheduler that are moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.followed: list[bytes] = []
        self.left: list[bytes] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []
        # What each spread was told: its size, and whether no other item was being swept.
        self.spreads: list[tuple[int, bool]] = []
        # What a stride of a sweep costs, in time.
        self.cost = 0.0
        self.hub = Hub(name, self.followed.append, self.left.append, self.later, self.spread, self.clock)

    def clock(self) -> float:
        self.now += self.cost
        return self.now

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self.planned.append((self.now + delay, call))

    def spread(self, frame: bytes, subscribers: Sequence[Any], alone: bool) -> list[Any]:
        self.spreads.append((len(subscribers), alone))
        return [one for one in subscribers if not one.open or not one.take(frame)]

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
    assert json.loads(topic.frame(0)[2:])["counts"] == {"like": 0, "dislike": 0}


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


def test_a_site_that_was_read_again_has_its_kinds_from_the_next_frame_on(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    setup.hub.publish(b"default/a", 3, {"like": 2, "love": 9})
    setup.settle()
    setup.hub.adopt({"default": Site(kinds=("love", "hate")), "other": Site("other")})
    assert json.loads(topic.frame(0)[2:])["counts"] == {"love": 9, "hate": 0}
    setup.hub.adopt({})
    assert json.loads(topic.frame(0)[2:])["counts"] == {"love": 9, "hate": 0}
    assert len(reader.got) == 1


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


def test_what_nobody_is_shown_is_not_swept(setup: Setup) -> None:
    setup.hub.hold(SITE, "a")
    setup.publish("a", 4)
    assert setup.planned == []
    assert setup.hub.version(b"default/a") == 4


def test_a_subscriber_with_a_defect_costs_the_others_nothing(setup: Setup) -> None:
    class Faulty(Reader):
        def take(self, frame: bytes) -> bool:
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
    readers = [Reader() for _ in range(ROW * 10)]
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
    for _ in range(TURNS - 1):
        setup.turn()
        assert sum(bool(reader.got) for reader in readers) == reached, "what takes some turns is let through"
    setup.turn()
    assert sum(bool(reader.got) for reader in readers) > reached
    for _ in range(TURNS):
        setup.turn()
    assert other.got, "a small item does not wait for a big one"
    assert sum(bool(reader.got) for reader in readers) < len(readers)
    setup.settle()
    assert all(reader.got == [("big", 1, False)] for reader in readers)


@pytest.mark.parametrize("swept", [False, True])
def test_who_comes_and_goes_leaves_no_rows_behind(setup: Setup, swept: bool) -> None:
    """An item that thousands look at for a moment costs no more than those who stay."""
    stays = [Reader() for _ in range(3)]
    for version, reader in enumerate(stays, 1):
        topic = setup.watch(reader, "a")
        if swept:
            setup.publish("a", version)
            setup.settle()
        passing = [Reader() for _ in range(ROW * 20)]
        for one in passing:
            setup.watch(one, "a")
        for one in passing:
            setup.hub.release(topic, one)
    assert len(topic._rows) <= ROW, "a twentieth of what came"
    setup.publish("a", 9)
    setup.settle()
    assert len(topic._rows) <= 6
    assert [reader.got[-1] for reader in stays] == [("a", 9, False)] * 3
    assert len(topic.subscribers) == 3


def test_who_leaves_during_a_sweep_keeps_nobody_from_being_brought_the_latest(setup: Setup) -> None:
    readers = [Reader() for _ in range(ROW * 10)]
    for reader in readers:
        topic = setup.watch(reader, "a")
    setup.cost = SLICE / 2
    setup.publish("a", 1)
    setup.turn()
    stay = [reader for number, reader in enumerate(readers) if number % ROW == 0]
    for reader in readers:
        if reader not in stay:
            setup.hub.release(topic, reader)
    late = Reader()
    setup.watch(late, "a")
    setup.publish("a", 2)
    setup.settle()
    assert all(reader.got[-1] == ("a", 2, False) for reader in [*stay, late])


def test_a_version_that_comes_back_in_a_sweep_goes_round_again(setup: Setup) -> None:
    """The store went back and forth: who was brought what was between is not left with it."""
    readers = [Reader() for _ in range(ROW * 6)]
    for reader in readers:
        setup.watch(reader, "a")
    setup.cost = SLICE / 2
    setup.publish("a", 9)
    setup.turn()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    for _ in range(TURNS):
        setup.turn()
    assert any(reader.got == [("a", 4, False)] for reader in readers)
    setup.publish("a", 9)
    setup.settle()
    assert all(reader.got[-1][1] == 9 for reader in readers)


def test_who_has_what_the_store_went_back_to_is_not_counted_as_spared(setup: Setup) -> None:
    reader = Reader()
    setup.watch(reader, "a")
    setup.publish("a", 4)
    setup.settle()
    reader.blocked = True
    setup.publish("a", 9)
    setup.settle()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    setup.publish("a", 10)
    assert setup.hub.deliveries.conflated == 1, "it was spared 9, and had 4"


def test_who_leaves_as_it_is_written_to_keeps_nobody_from_being_brought_the_latest(setup: Setup) -> None:
    class Leaving(Reader):
        def take(self, frame: bytes) -> bool:
            setup.hub.release(topic, self)
            return super().take(frame)

    readers = [Leaving() if number % 3 == 0 else Reader() for number in range(ROW * 2)]
    for reader in readers:
        topic = setup.watch(reader, "a")
    # Back in time, so that everybody is asked one by one.
    setup.publish("a", 9)
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    assert [len(reader.got) for reader in readers] == [1] * len(readers)
    assert all(reader not in topic.subscribers for reader in readers[::3])
    setup.publish("a", 10)
    setup.settle()
    assert [len(reader.got) for reader in readers] == [1, 2, 2] * (len(readers) // 3) + [1, 2]


def test_who_comes_as_another_is_written_to_costs_nobody_the_update(setup: Setup) -> None:
    """Newcomers may have the rows filled again, but not under a sweep."""

    class Popular(Reader):
        def take(self, frame: bytes) -> bool:
            while passing:
                setup.hub.release(topic, passing.pop())
            for _ in range(ROW):
                setup.watch(Reader(), "a")
            return super().take(frame)

    first, last = Popular(), Reader()
    passing = [Reader() for _ in range(ROW * 10)]
    for reader in (first, *passing, last):
        topic = setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.settle()
    assert first.got == last.got == [("a", 1, False)]


def test_who_was_shown_the_latest_meanwhile_is_not_brought_it_again(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    reader.blocked = True
    setup.publish("a", 1)
    setup.settle()
    assert topic.attach(reader) == UNKNOWN
    reader.drain()
    assert reader.got == []
    assert setup.hub.deliveries.sent == 0


def test_a_row_with_a_defect_costs_the_others_nothing(setup: Setup) -> None:
    class Faulty(Reader):
        def miss(self, topic: Topic) -> None:
            raise ValueError("a defect")

    faulty = Faulty()
    faulty.blocked = True
    readers = [faulty, *(Reader() for _ in range(ROW * 2))]
    other = Reader()
    for reader in readers:
        setup.watch(reader, "a")
    setup.watch(other, "b")
    for version in (1, 2):
        setup.publish("a", version)
        setup.publish("b", version)
        setup.settle()
    assert other.got == [("b", 1, False), ("b", 2, False)]
    assert all(reader.got == [("a", 1, False), ("a", 2, False)] for reader in readers[ROW:])


def test_those_who_know_the_latest_are_noted_by_their_row_alone(setup: Setup) -> None:
    """What nobody reacts to costs a connection no note of its own."""
    topic = setup.watch(Reader(), "a")
    setup.publish("a", 7)
    setup.settle()
    for number in range(ROW * 3):
        setup.watch(Reader(number % len(WIRES)), "a")
    assert not any(row.others for row in topic._rows)


def test_what_is_newer_overtakes_inside_a_sweep_and_the_others_get_it_next(setup: Setup) -> None:
    readers = [Reader() for _ in range(ROW * 10)]
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


def test_many_are_written_to_at_once_and_the_others_one_by_one(setup: Setup) -> None:
    readers = [Reader() for _ in range(10)]
    for number, reader in enumerate(readers):
        setup.watch(reader, "a")
        reader.open = number % 2 == 0
    readers[4].blocked = readers[5].blocked = True
    setup.publish("a", 1)
    setup.settle()
    assert setup.spreads == [(10, True)]
    assert [reader.got for reader in readers[4:6]] == [[], []]
    for reader in readers[4:6]:
        reader.drain()
    assert all(reader.got == [("a", 1, False)] for reader in readers)
    setup.publish("a", 2)
    setup.settle()
    assert all(reader.got[1:] == [("a", 2, False)] for reader in readers)


def test_many_are_written_to_at_once_in_each_wire_format(setup: Setup) -> None:
    frames: dict[int, list[bytes]] = {}

    class Other(Reader):
        def __init__(self, wire: int) -> None:
            super().__init__()
            self.wire = wire
            self.open = True

        def take(self, frame: bytes) -> bool:
            frames.setdefault(self.wire, []).append(frame)
            return True

    (topic,) = {setup.watch(Other(number % 3), "a") for number in range(9)}
    setup.publish("a", 1)
    setup.settle()
    assert setup.spreads == [(3, True)] * 3
    assert frames == {wire: [topic.frame(wire)] * 3 for wire in range(3)}


def test_who_was_shown_more_than_the_store_has_is_not_written_to_with_others(setup: Setup) -> None:
    """Everybody may lack something else then: some are sent a reset and others an update."""
    old, new = Reader(), Reader()
    setup.watch(old, "a")
    setup.publish("a", 9)
    setup.settle()
    setup.watch(new, "a")
    setup.spreads.clear()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    assert setup.spreads == []
    assert old.got[-1] == new.got[-1] == ("a", 4, True)


def test_a_spread_is_told_whether_other_items_are_swept_in_the_same_turn(setup: Setup) -> None:
    """Who watches several of them then sends them together, and otherwise need not wait."""
    reader = Reader()
    for item in "ab":
        setup.watch(reader, item)
    setup.publish("a", 1)
    setup.settle()
    assert setup.spreads == [(1, True)]
    setup.publish("a", 2)
    setup.publish("b", 2)
    setup.settle()
    assert setup.spreads == [(1, True), (1, False), (1, False)]


def test_a_hot_item_rests_as_long_as_it_was_swept(setup: Setup) -> None:
    """A hundred times the updates cost no more sweeps than fit into half of the time."""

    class Costly(Reader):
        def take(self, frame: bytes) -> bool:
            setup.now += 0.0001
            return super().take(frame)

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


ITEMS = "ab"
READERS = 6
WHO = st.integers(0, READERS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(ITEMS), st.integers(0, 40)),
        st.tuples(st.just("back"), st.sampled_from(ITEMS), st.integers(0, 40)),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), WHO),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), WHO),
        st.tuples(st.just("again"), st.sampled_from(ITEMS), WHO),
        st.tuples(st.just("pass"), st.sampled_from(ITEMS), st.integers(1, 20)),
        st.tuples(st.just("room"), st.integers(0, 3), WHO),
        st.tuples(st.just("drain"), st.just(""), WHO),
        st.tuples(st.just("open"), st.just(""), WHO),
        st.tuples(st.just("gone"), st.just(""), WHO),
        st.tuples(st.just("cost"), st.just(""), st.integers(0, 2)),
        st.tuples(st.just("turn"), st.just(""), st.just(0)),
        st.tuples(st.just("forget"), st.just(""), st.just(0)),
    ),
    # Hypothesis makes short lists by itself, in which nothing comes together.
    min_size=30,
    max_size=120,
)


class Exact(Reader):
    """A reader that has room for so many frames only, and knows what it may be told.

    ``shown`` has the version of each item it watches. What should not have come is kept in ``wrong``: the hub
    outlives an exception of a subscriber.
    """

    def __init__(self, wire: int) -> None:
        super().__init__(wire)
        self.room: int | None = None
        self.shown: dict[str, int] = {}
        self.wrong: list[str] = []

    def take(self, frame: bytes) -> bool:
        self.blocked = self.room == 0
        if not super().take(frame):
            return False
        if self.room is not None:
            self.room -= 1
        item, version, reset = self.got[-1]
        if item not in self.shown:
            self.wrong.append(f"{item}, which it does not watch")
        elif not (version < self.shown[item] if reset else version > self.shown[item]):
            self.wrong.append(f"{item} {version} after {self.shown[item]}, reset: {reset}")
        self.shown[item] = version
        return True

    def drain(self) -> None:
        self.room = None
        super().drain()


class Model(Setup):
    """Readers that come, stop, read on and go; time passes, sweeps are cut short, items are forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.readers = [Exact(number % len(WIRES)) for number in range(READERS)]
        self.topics: dict[tuple[int, str], Topic] = {}

    def act(self, kind: str, item: Any, number: int) -> None:
        who = self.readers[number % READERS]
        if kind == "publish":
            self.publish(item, number)
        elif kind == "back":
            channel = name("default", item)
            self.hub.reconcile(channel, number, counts(number), self.hub.version(channel))
        elif kind in ("watch", "again", "pass"):
            self.come(kind, item, number)
        elif kind == "room":
            who.room = item
        elif kind == "drain":
            who.drain()
        elif kind == "open":
            who.open = not who.open
        elif kind == "gone":
            for key in [key for key in self.topics if key[0] == number]:
                self.release(*key)
        elif kind == "cost":
            self.cost = (0.0, SLICE / 3, SLICE)[number]
        elif kind == "forget":
            self.now += LINGER + 1
            self.hub.sweep()
        else:
            self.turn()

    def come(self, kind: str, item: str, number: int) -> None:
        """Somebody watches an item, or no more, or is shown it again; or some do who leave at once."""
        if kind == "pass":
            passing = [Reader(at % len(WIRES)) for at in range(number)]
            for topic in [self.watch(one, item) for one in passing]:
                self.hub.release(topic, passing.pop())
            return
        who, topic = self.readers[number], self.topics.get((number, item))
        if topic is None and kind == "watch":
            topic = self.topics[number, item] = self.watch(who, item)
            who.shown[item] = topic.version
        elif topic is not None and kind == "again":
            assert topic.attach(who) == who.shown[item]
            who.shown[item] = topic.version
        elif topic is not None:
            self.release(number, item)

    def release(self, number: int, item: str) -> None:
        self.hub.release(self.topics.pop((number, item)), self.readers[number])
        del self.readers[number].shown[item]

    def check_rows(self, topic: Topic) -> None:
        """Each subscriber is in one row, of its own wire format, and what is counted is what is."""
        rows = [(one, row) for row in topic._rows for one in row.members]
        assert len(rows) == len(topic.subscribers)
        assert dict(rows) == topic.subscribers
        for row in topic._rows:
            assert len(row.members) <= topics.ROW
            assert row.others.keys() <= set(row.members)
            assert row.version not in row.others.values()
            assert all(one.wire == row.wire for one in row.members)
        if topic.version != UNKNOWN:
            reached = [one for one in topic.subscribers if topic.brought(one) == topic.version]
            assert topic._reached == len(reached)

    def check(self) -> None:
        """What holds at any time."""
        for topic in self.hub._topics.values():
            self.check_rows(topic)
        assert self.hub.deliveries.sent == sum(len(reader.got) for reader in self.readers)
        for number, reader in enumerate(self.readers):
            assert reader.wrong == []
            # What was left while it was blocked is remembered until it drains, and never twice.
            live = {topic.item for topic in reader.missed if topic.subscribers.get(reader) is not None}
            assert live <= reader.shown.keys()
            assert len([topic for topic in reader.missed if topic.holders]) <= len(ITEMS)
            for item in ITEMS:
                topic = self.topics.get((number, item))
                behind = topic is not None and topic.brought(reader) != topic.version
                assert topic is None or topic.brought(reader) == reader.shown[item]
                assert not behind or topic.dirty or topic in reader.missed, "it will be brought the latest"


@settings(max_examples=300, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 3, ROW]))
def test_versions_rise_for_everyone_and_everyone_ends_with_the_last(
    events: list[tuple[str, Any, int]], row: int
) -> None:
    model = Model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "ROW", row)
        for event in events:
            model.act(*event)
            model.check()
        for reader in model.readers:
            reader.drain()
        model.settle()
        model.check()
    for (number, item), topic in model.topics.items():
        reader = model.readers[number]
        assert reader.shown[item] == topic.version == model.hub.version(name("default", item))
        assert topic.subscribers.keys() <= set(model.readers)
    for reader in model.readers:
        assert reader.missed == set(), "nothing is kept for who has read all"
        assert reader.shown.keys() == {item for n, item in model.topics if model.readers[n] is reader}


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


def test_what_was_brought_and_what_was_spared_is_counted(setup: Setup) -> None:
    fast, slow, gone = Reader(), Reader(), Reader()
    topic = setup.watch(fast, "a")
    setup.watch(slow, "a")
    setup.watch(gone, "a")
    slow.blocked = gone.blocked = True
    for version in (1, 2, 3):
        setup.publish("a", version)
        setup.settle()
    deliveries = setup.hub.deliveries
    assert (deliveries.sent, deliveries.conflated) == (3, 4), "two were spared 1 and 2"
    setup.hub.release(topic, gone)
    slow.drain()
    assert (deliveries.sent, deliveries.conflated) == (4, 4)
    setup.hub.hold(SITE, "a")
    topic.attach(Reader())
    setup.publish("a", 4)
    assert (deliveries.sent, deliveries.conflated) == (4, 4), "a snapshot is no update, and enough"
    setup.publish("a", 5)
    assert deliveries.conflated == 7, "three were to be brought 4"
    setup.settle()
    assert (deliveries.sent, deliveries.conflated) == (7, 7)


def test_the_lag_of_what_was_brought_is_noted_but_not_of_a_reset(setup: Setup) -> None:
    setup.hub.deliveries.age = lambda version: 0.3 if version > 5 else 7200.0
    setup.watch(Reader(), "a")
    setup.watch(Reader(), "a")
    setup.publish("a", 9)
    setup.settle()
    lag = setup.hub.deliveries.lag
    assert (sum(lag.counts), round(lag.total, 6)) == (2, 0.6)
    assert lag.counts[lag.bounds.index(0.5)] == 2
    setup.hub.reconcile(b"default/a", 4, counts(4), 9)
    setup.settle()
    assert (setup.hub.deliveries.sent, sum(lag.counts)) == (4, 2)
