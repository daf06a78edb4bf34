"""Frames that are written to many subscribers at once."""

from tallycast.fanout.topic import Codec

from tests.fanout.support import CODECS, Reader, Setup, counts


def test_many_are_written_to_at_once_and_the_others_one_by_one(setup: Setup) -> None:
    readers = [Reader() for _ in range(10)]
    for number, reader in enumerate(readers):
        setup.watch(reader, "a")
        reader.open = number % 2 == 0
    readers[4].blocked = readers[5].blocked = True
    setup.publish("a", 1)
    setup.settle()
    assert setup.broadcasts == [(10, True)]
    assert [reader.got for reader in readers[4:6]] == [[], []]
    for reader in readers[4:6]:
        reader.drain()
    assert all(reader.got == [("a", 1, False)] for reader in readers)
    setup.publish("a", 2)
    setup.settle()
    assert all(reader.got[1:] == [("a", 2, False)] for reader in readers)


def test_many_are_written_to_at_once_in_each_wire_format(setup: Setup) -> None:
    frames: dict[Codec, list[bytes]] = {}

    class Other(Reader):
        def __init__(self, codec: Codec) -> None:
            super().__init__(codec)
            self.open = True

        def deliver(self, frame: bytes) -> bool:
            frames.setdefault(self.transport.codec, []).append(frame)
            return True

    (topic,) = {setup.watch(Other(CODECS[number % 3]), "a") for number in range(9)}
    setup.publish("a", 1)
    setup.settle()
    assert setup.broadcasts == [(3, True)] * 3
    assert frames == {codec: [topic.frame(codec)] * 3 for codec in CODECS}


def test_a_subscriber_shown_more_than_the_store_has_is_written_to_alone(setup: Setup) -> None:
    """Each may lack something else then: some are sent a reset and others an update."""
    old, new = Reader(), Reader()
    setup.watch(old, "a")
    setup.publish("a", 9)
    setup.settle()
    setup.watch(new, "a")
    setup.broadcasts.clear()
    setup.hub.reconcile(b"default/a", 4, counts(4), floor=9)
    setup.settle()
    assert setup.broadcasts == []
    assert old.got[-1] == new.got[-1] == ("a", 4, True)


def test_a_broadcast_knows_whether_other_items_are_swept_in_the_same_turn(setup: Setup) -> None:
    """A subscriber of several of them then sends them together, and otherwise need not wait."""
    reader = Reader()
    for item in "ab":
        setup.watch(reader, item)
    setup.publish("a", 1)
    setup.settle()
    assert setup.broadcasts == [(1, True)]
    setup.publish("a", 2)
    setup.publish("b", 2)
    setup.settle()
    assert setup.broadcasts == [(1, True), (1, False), (1, False)]
