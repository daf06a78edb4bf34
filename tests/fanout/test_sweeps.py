"""Sweeps over the subscribers of an item: slices of time, batches, changes in between."""

import pytest
from tallycast.fanout.hub import LOOP_TURNS, TIME_SLICE
from tallycast.fanout.topic import BATCH_SIZE, UNKNOWN, Topic

from tests.fanout.support import CODECS, Reader, Setup, counts


def test_the_first_update_leaves_in_the_same_turn(setup: Setup) -> None:
    reader = Reader()
    setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.turn()
    assert reader.got == [("a", 1, False)]


def test_a_sweep_goes_in_slices_and_lets_others_in(setup: Setup) -> None:
    readers = [Reader() for _ in range(BATCH_SIZE * 10)]
    for reader in readers:
        setup.watch(reader, "big")
    other = Reader()
    setup.watch(other, "small")
    setup.cost = TIME_SLICE / 2
    setup.publish("big", 1)
    setup.turn()
    reached = sum(bool(reader.got) for reader in readers)
    assert 0 < reached < len(readers), "one slice of time, then the loop's other work"
    setup.publish("small", 1)
    for _ in range(LOOP_TURNS - 1):
        setup.turn()
        assert sum(bool(reader.got) for reader in readers) == reached, "what takes some turns is let through"
    setup.turn()
    assert sum(bool(reader.got) for reader in readers) > reached
    for _ in range(LOOP_TURNS):
        setup.turn()
    assert other.got, "a small item does not wait for a big one"
    assert sum(bool(reader.got) for reader in readers) < len(readers)
    setup.settle()
    assert all(reader.got == [("big", 1, False)] for reader in readers)


@pytest.mark.parametrize("swept", [False, True])
def test_subscribers_that_come_and_go_leave_no_batches_behind(setup: Setup, swept: bool) -> None:
    """An item that thousands look at for a moment costs no more than those that stay."""
    stays = [Reader() for _ in range(3)]
    for version, reader in enumerate(stays, 1):
        topic = setup.watch(reader, "a")
        if swept:
            setup.publish("a", version)
            setup.settle()
        passing = [Reader() for _ in range(BATCH_SIZE * 20)]
        for one in passing:
            setup.watch(one, "a")
        for one in passing:
            setup.hub.unsubscribe(topic, one)
    assert len(topic._batches) <= BATCH_SIZE, "a twentieth of what came"
    setup.publish("a", 9)
    setup.settle()
    assert len(topic._batches) <= 6
    assert [reader.got[-1] for reader in stays] == [("a", 9, False)] * 3
    assert len(topic.subscribers) == 3


def test_leaving_during_a_sweep_keeps_no_other_from_the_latest(setup: Setup) -> None:
    readers = [Reader() for _ in range(BATCH_SIZE * 10)]
    for reader in readers:
        topic = setup.watch(reader, "a")
    setup.cost = TIME_SLICE / 2
    setup.publish("a", 1)
    setup.turn()
    stay = [reader for number, reader in enumerate(readers) if number % BATCH_SIZE == 0]
    for reader in readers:
        if reader not in stay:
            setup.hub.unsubscribe(topic, reader)
    late = Reader()
    setup.watch(late, "a")
    setup.publish("a", 2)
    setup.settle()
    assert all(reader.got[-1] == ("a", 2, False) for reader in [*stay, late])


def test_a_version_that_comes_back_in_a_sweep_goes_round_again(setup: Setup) -> None:
    """The store went back and forth: no subscriber is left with what was between."""
    readers = [Reader() for _ in range(BATCH_SIZE * 6)]
    for reader in readers:
        setup.watch(reader, "a")
    setup.cost = TIME_SLICE / 2
    setup.publish("a", 9)
    setup.turn()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    for _ in range(LOOP_TURNS):
        setup.turn()
    assert any(reader.got == [("a", 4, False)] for reader in readers)
    setup.publish("a", 9)
    setup.settle()
    assert all(reader.got[-1][1] == 9 for reader in readers)


def test_a_subscriber_that_has_what_the_store_went_back_to_is_not_conflated(setup: Setup) -> None:
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
    assert setup.hub.delivery_stats.conflated == 1, "9 was conflated, and it had 4"


def test_leaving_as_it_is_written_to_keeps_no_other_from_the_latest(setup: Setup) -> None:
    class Leaving(Reader):
        def deliver(self, frame: bytes) -> bool:
            setup.hub.unsubscribe(topic, self)
            return super().deliver(frame)

    readers = [Leaving() if number % 3 == 0 else Reader() for number in range(BATCH_SIZE * 2)]
    for reader in readers:
        topic = setup.watch(reader, "a")
    # Back in time, so that each is written to alone.
    setup.publish("a", 9)
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    assert [len(reader.got) for reader in readers] == [1] * len(readers)
    assert all(reader not in topic.subscribers for reader in readers[::3])
    setup.publish("a", 10)
    setup.settle()
    assert [len(reader.got) for reader in readers] == [1, 2, 2] * (len(readers) // 3) + [1, 2]


def test_coming_as_another_is_written_to_costs_no_other_the_update(setup: Setup) -> None:
    """A new subscriber may cause the batches to be rebuilt, but not during a sweep."""

    class Popular(Reader):
        def deliver(self, frame: bytes) -> bool:
            while passing:
                setup.hub.unsubscribe(topic, passing.pop())
            for _ in range(BATCH_SIZE):
                setup.watch(Reader(), "a")
            return super().deliver(frame)

    first, last = Popular(), Reader()
    passing = [Reader() for _ in range(BATCH_SIZE * 10)]
    for reader in (first, *passing, last):
        topic = setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.settle()
    assert first.got == last.got == [("a", 1, False)]


def test_a_subscriber_shown_the_latest_meanwhile_is_not_sent_it_again(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    reader.blocked = True
    setup.publish("a", 1)
    setup.settle()
    assert topic.attach(reader) == UNKNOWN
    reader.drain()
    assert reader.got == []
    assert setup.hub.delivery_stats.sent == 0


def test_a_batch_with_a_defect_costs_the_others_nothing(setup: Setup) -> None:
    class Faulty(Reader):
        def mark_stale(self, topic: Topic) -> None:
            raise ValueError("a defect")

    faulty = Faulty()
    faulty.blocked = True
    readers = [faulty, *(Reader() for _ in range(BATCH_SIZE * 2))]
    other = Reader()
    for reader in readers:
        setup.watch(reader, "a")
    setup.watch(other, "b")
    for version in (1, 2):
        setup.publish("a", version)
        setup.publish("b", version)
        setup.settle()
    assert other.got == [("b", 1, False), ("b", 2, False)]
    assert all(reader.got == [("a", 1, False), ("a", 2, False)] for reader in readers[BATCH_SIZE:])


def test_subscribers_that_are_current_need_no_version_of_their_own(setup: Setup) -> None:
    """An item without reactions costs a connection no entry of its own."""
    topic = setup.watch(Reader(), "a")
    setup.publish("a", 7)
    setup.settle()
    for number in range(BATCH_SIZE * 3):
        setup.watch(Reader(CODECS[number % len(CODECS)]), "a")
    assert not any(batch.deviating for batch in topic._batches)


def test_a_newer_version_enters_a_sweep_and_the_stale_ones_get_it_next(setup: Setup) -> None:
    readers = [Reader() for _ in range(BATCH_SIZE * 10)]
    for reader in readers:
        setup.watch(reader, "a")
    setup.cost = TIME_SLICE / 2
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


def test_a_hot_item_has_a_cooldown_as_long_as_its_sweep(setup: Setup) -> None:
    """A hundred times the updates cost no more sweeps than fit into half of the time."""

    class Costly(Reader):
        def deliver(self, frame: bytes) -> bool:
            setup.now += 0.0001
            return super().deliver(frame)

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
