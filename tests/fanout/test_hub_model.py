"""A hub beside a model of it: any order of updates, subscribers and time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallycast.fanout import topic as topics
from tallycast.fanout.hub import LINGER, TIME_SLICE
from tallycast.fanout.topic import BATCH_SIZE, UNKNOWN, Codec, Topic

from tests.fanout.support import CODECS, Reader, Setup, counts, name

ITEMS = "ab"
READERS = 6
READER = st.integers(0, READERS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(ITEMS), st.integers(0, 40)),
        st.tuples(st.just("back"), st.sampled_from(ITEMS), st.integers(0, 40)),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), READER),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), READER),
        st.tuples(st.just("again"), st.sampled_from(ITEMS), READER),
        st.tuples(st.just("pass"), st.sampled_from(ITEMS), st.integers(1, 20)),
        st.tuples(st.just("room"), st.integers(0, 3), READER),
        st.tuples(st.just("drain"), st.just(""), READER),
        st.tuples(st.just("open"), st.just(""), READER),
        st.tuples(st.just("gone"), st.just(""), READER),
        st.tuples(st.just("cost"), st.just(""), st.integers(0, 2)),
        st.tuples(st.just("turn"), st.just(""), st.just(0)),
        st.tuples(st.just("forget"), st.just(""), st.just(0)),
    ),
    # Hypothesis makes short lists by itself, in which nothing comes together.
    min_size=30,
    max_size=120,
)


class Exact(Reader):
    """A reader that has room for so many frames only, and knows what it may receive.

    ``shown`` has the version of each item it watches. What should not have come is kept in ``wrong``: the hub
    outlives an exception of a subscriber.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec)
        self.room: int | None = None
        self.shown: dict[str, int] = {}
        self.wrong: list[str] = []

    def deliver(self, frame: bytes) -> bool:
        self.blocked = self.room == 0
        if not super().deliver(frame):
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
        self.readers = [Exact(CODECS[number % len(CODECS)]) for number in range(READERS)]
        self.topics: dict[tuple[int, str], Topic] = {}

    def act(self, kind: str, item: Any, number: int) -> None:
        reader = self.readers[number % READERS]
        if kind == "publish":
            self.publish(item, number)
        elif kind == "back":
            channel = name("default", item)
            self.hub.reconcile(channel, number, counts(number), self.hub.version(channel))
        elif kind in ("watch", "again", "pass"):
            self.come(kind, item, number)
        elif kind == "room":
            reader.room = item
        elif kind == "drain":
            reader.drain()
        elif kind == "open":
            reader.open = not reader.open
        elif kind == "gone":
            for key in [key for key in self.topics if key[0] == number]:
                self.unsubscribe(*key)
        elif kind == "cost":
            self.cost = (0.0, TIME_SLICE / 3, TIME_SLICE)[number]
        elif kind == "forget":
            self.now += LINGER + 1
            self.hub.expire_idle()
        else:
            self.turn()

    def come(self, kind: str, item: str, number: int) -> None:
        """A reader watches an item, or no more, or is shown it again; or some do and leave at once."""
        if kind == "pass":
            passing = [Reader(CODECS[at % len(CODECS)]) for at in range(number)]
            for topic in [self.watch(one, item) for one in passing]:
                self.hub.unsubscribe(topic, passing.pop())
            return
        reader, topic = self.readers[number], self.topics.get((number, item))
        if topic is None and kind == "watch":
            topic = self.topics[number, item] = self.watch(reader, item)
            reader.shown[item] = topic.version
        elif topic is not None and kind == "again":
            assert topic.attach(reader) == reader.shown[item]
            reader.shown[item] = topic.version
        elif topic is not None:
            self.unsubscribe(number, item)

    def unsubscribe(self, number: int, item: str) -> None:
        self.hub.unsubscribe(self.topics.pop((number, item)), self.readers[number])
        del self.readers[number].shown[item]

    def check_batches(self, topic: Topic) -> None:
        """Each subscriber is in one batch, of its own transport, and the counters are right."""
        batches = [(one, batch) for batch in topic._batches for one in batch.members]
        assert len(batches) == len(topic.subscribers)
        assert dict(batches) == topic.subscribers
        for batch in topic._batches:
            assert len(batch.members) <= topics.BATCH_SIZE
            assert batch.deviating.keys() <= set(batch.members)
            assert batch.version not in batch.deviating.values()
            assert all(one.transport is batch.transport for one in batch.members)
        if topic.version != UNKNOWN:
            reached = [one for one in topic.subscribers if topic.version_of(one) == topic.version]
            assert topic._current == len(reached)

    def check(self) -> None:
        """What holds at any time."""
        for topic in self.hub._topics.values():
            self.check_batches(topic)
        assert self.hub.delivery_stats.sent == sum(len(reader.got) for reader in self.readers)
        for number, reader in enumerate(self.readers):
            assert reader.wrong == []
            # What was left while it was blocked is remembered until it drains, and never twice.
            live = {topic.item for topic in reader.missed if topic.subscribers.get(reader) is not None}
            assert live <= reader.shown.keys()
            assert len([topic for topic in reader.missed if topic.subscriptions]) <= len(ITEMS)
            for item in ITEMS:
                topic = self.topics.get((number, item))
                behind = topic is not None and topic.version_of(reader) != topic.version
                assert topic is None or topic.version_of(reader) == reader.shown[item]
                assert not behind or topic.dirty or topic in reader.missed, "it will be sent the latest"


@settings(max_examples=300, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 3, BATCH_SIZE]))
def test_versions_rise_for_everyone_and_everyone_ends_with_the_last(
    events: list[tuple[str, Any, int]], batch: int
) -> None:
    model = Model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "BATCH_SIZE", batch)
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
        assert reader.missed == set(), "nothing is kept for a reader of all"
        assert reader.shown.keys() == {item for n, item in model.topics if model.readers[n] is reader}
