"""What is shown of items, and when, on one connection."""

from tallycast.engine.keys import member

from tests.session.support import SITE, Talk
from tests.support.names import NAMES


def test_what_is_known_is_answered_at_once(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    session, line = talk.another()
    session.queue.received(b'{"type":"watch","items":["a"]}', False)
    assert [frame["type"] for frame in line.frames] == ["counts", "watching"]
    assert talk.store.queries == []


def test_since(talk: Talk) -> None:
    talk.say("watch", items=["a", "b", "c"], since={"a": 100, "b": 99, "c": 101})
    talk.store.answer()
    frames = talk.messages()
    assert [(f["type"], f.get("item"), f.get("reset")) for f in frames] == [
        ("counts", "b", None),
        ("counts", "c", True),
        ("watching", None, None),
    ]
    # A version above what is known here may simply be newer: the store is asked before a reset is sent.
    session, line = talk.another()
    session.queue.received(b'{"type":"watch","items":["a"],"since":{"a":150}}', False)
    talk.store.version = 150
    talk.store.answer()
    assert [frame["type"] for frame in line.frames] == ["watching"]


def test_no_update_comes_before_its_snapshot_and_none_twice(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.publish("a", 100)
    assert talk.messages() == []
    talk.store.answer()
    talk.publish("a", 100)
    talk.publish("a", 105)
    assert [frame.get("version") for frame in talk.messages()] == [100, None, 105]


def test_a_read_that_was_overtaken_shows_the_newer_counts(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.publish("a", 500)
    talk.store.answer()
    assert [frame.get("version") for frame in talk.messages()] == [500, None]


def test_other_tabs_are_notified_and_the_own_one_is_not(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("react", item="a", reaction="like")
    talk.messages()
    connection_id = talk.store.written[0].connection_id
    channel = NAMES.visitor_channel(SITE.name, member(talk.visitor))
    talk.parts.visitors.notify(channel, "a", 101, "like", connection_id)
    assert talk.messages() == []
    talk.parts.visitors.notify(channel, "a", 102, None, 0)
    talk.parts.visitors.notify(channel, "b", 103, "like", 0)
    assert talk.messages() == [{"type": "mine", "item": "a", "version": 102, "reaction": None}]


def test_a_blocked_connection_gets_the_latest_when_it_can(talk: Talk) -> None:
    talk.say("watch", items=["a", "b"])
    talk.store.answer()
    talk.messages()
    talk.line.blocked = True
    for version in range(200, 300):
        talk.publish("a", version)
    talk.publish("b", 300)
    assert talk.messages() == []
    talk.line.drain()
    assert sorted((f["item"], f["version"]) for f in talk.messages()) == [("a", 299), ("b", 300)]
    talk.line.drain()
    assert talk.messages() == []


def test_a_reset_is_not_lost_on_a_blocked_connection(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.messages()
    talk.line.blocked = True
    talk.parts.hub.reconcile(NAMES.item_channel("default", "a"), 50, talk.store.counts, floor=100)
    talk.publish("a", 60)
    talk.line.drain()
    assert [(f["version"], f["reset"]) for f in talk.messages()] == [(60, True)]


def test_an_item_left_while_blocked_is_not_brought(talk: Talk) -> None:
    talk.say("watch", items=["a", "b"])
    talk.store.answer()
    talk.line.blocked = True
    talk.publish("a", 500)
    talk.publish("b", 500)
    talk.messages()
    talk.say("unwatch", items=["a"])
    talk.line.drain()
    assert [(frame["type"], frame.get("item")) for frame in talk.messages()] == [
        ("unwatched", None),
        ("counts", "b"),
    ]
