"""What subscribers of a hub get, and what the supply is asked for."""

import json

from tallycast.contract.codec import JSON, MSGPACK
from tallycast.domain.sites import Site
from tallycast.fanout.hub import LINGER
from tallycast.fanout.topic import UNKNOWN

from tests.fanout.support import SITE, Reader, Setup, counts


def test_subscribers_get_what_rises_and_nothing_else(setup: Setup) -> None:
    reader, other = Reader(), Reader()
    setup.watch(reader, "a")
    setup.watch(other, "b")
    for version in (5, 5, 4, 7, 6, 7, 8):
        setup.hub.publish(b"default/a", version, counts(version))
        setup.settle()
    assert [version for _, version, _ in reader.got] == [5, 7, 8]
    assert other.got == []


def test_version_zero_is_news_to_a_subscriber_that_knows_nothing(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    assert topic.version == UNKNOWN
    setup.hub.publish(b"default/a", 0, {})
    setup.settle()
    assert reader.got == [("a", 0, False)]
    assert json.loads(topic.frame(JSON)[2:])["counts"] == {"like": 0, "dislike": 0}


def test_a_frame_is_made_once_for_all(setup: Setup) -> None:
    topic = setup.watch(Reader(), "a")
    setup.hub.publish(b"default/a", 3, {"like": 2, "gone": 9})
    assert topic.frame(JSON) is topic.frame(JSON)
    assert topic.frame(JSON) != topic.frame(MSGPACK)
    message = {"type": "counts", "item": "a", "version": 3, "counts": {"like": 2, "dislike": 0}}
    assert json.loads(topic.frame(JSON)[2:]) == message
    assert json.loads(topic.frame(JSON, reset=True)[2:]) == message | {"reset": True}
    old = topic.frame(JSON)
    setup.hub.publish(b"default/a", 4, counts(1))
    assert topic.frame(JSON) != old


def test_a_site_that_was_read_again_has_its_kinds_from_the_next_frame_on(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    setup.hub.publish(b"default/a", 3, {"like": 2, "love": 9})
    setup.settle()
    setup.hub.update_sites({"default": Site(kinds=("love", "hate")), "other": Site("other")})
    assert json.loads(topic.frame(JSON)[2:])["counts"] == {"love": 9, "hate": 0}
    setup.hub.update_sites({})
    assert json.loads(topic.frame(JSON)[2:])["counts"] == {"love": 9, "hate": 0}
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


def test_a_read_that_was_superseded_is_no_reset(setup: Setup) -> None:
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
    setup.hub.unsubscribe(topic, first)
    setup.now = LINGER * 5
    setup.hub.expire_idle()
    assert setup.left == []
    setup.hub.unsubscribe(topic, second)
    setup.now += LINGER / 2
    setup.hub.expire_idle()
    assert setup.left == []
    assert setup.watch(first, "a") is topic, "a subscriber back in time finds it as it was"
    setup.hub.unsubscribe(topic, first)
    setup.now += LINGER + 1
    setup.hub.expire_idle()
    assert setup.left == [b"default/a"]
    assert len(setup.hub) == 0
    setup.hub.publish(b"default/a", 5, counts(5))
    assert setup.hub.version(b"default/a") == UNKNOWN


def test_a_subscriber_that_left_gets_nothing_more(setup: Setup) -> None:
    reader = Reader()
    topic = setup.watch(reader, "a")
    setup.publish("a", 4)
    setup.hub.unsubscribe(topic, reader)
    setup.publish("a", 5)
    setup.settle()
    assert reader.got == []


def test_an_item_without_subscribers_is_not_swept(setup: Setup) -> None:
    setup.hub.subscribe(SITE, "a")
    setup.publish("a", 4)
    assert setup.planned == []
    assert setup.hub.version(b"default/a") == 4


def test_a_subscriber_with_a_defect_costs_the_others_nothing(setup: Setup) -> None:
    class Faulty(Reader):
        def deliver(self, frame: bytes) -> bool:
            raise ValueError("a defect")

    before, after = Reader(), Reader()
    for reader in (before, Faulty(), after):
        setup.watch(reader, "a")
    setup.publish("a", 1)
    setup.settle()
    setup.publish("a", 2)
    setup.settle()
    assert before.got == after.got == [("a", 1, False), ("a", 2, False)]
