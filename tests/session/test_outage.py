"""Watches while the engine is away, and after."""

from tallycast.contract.codec import JSON

from tests.session.support import SITE, Connection, Talk


def test_a_refused_watch_stands_until_the_engine_is_back(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a", "b"], ref=1)
    talk.store.fail()
    assert [(f["type"], f.get("code")) for f in talk.messages()] == [
        ("ready", None),
        ("error", "unavailable"),
    ]
    talk.ready = False
    talk.session.on_tick()
    assert talk.store.queries == []
    talk.ready = True
    talk.session.on_tick()
    talk.store.fail()
    assert talk.messages() == [], "it was refused once, and that was said"
    talk.store.held["a"] = "like"
    talk.session.on_tick()
    talk.store.answer()
    assert sorted(frame["type"] for frame in talk.messages()) == ["counts", "counts", "mine"]
    talk.session.on_tick()
    assert talk.store.queries == []
    talk.publish("b", 300)
    assert talk.types() == ["counts"]


def test_a_refused_watch_remembers_what_was_shown(talk: Talk) -> None:
    """The store was restored while the engine was away: what the client shows is newer than it."""
    talk.say("watch", items=["a"], since={"a": 500})
    talk.store.fail()
    talk.messages()
    talk.session.on_tick()
    talk.store.answer()
    assert [(f["version"], f.get("reset")) for f in talk.messages()] == [(100, True)]


def test_a_stranger_is_shown_the_store_when_updates_may_be_missing(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.ready = False
    session, _ = talk.another()
    session.queue.received(b'{"type":"watch","items":["a"]}', False)
    assert len(talk.store.queries) == 1


def test_the_item_of_the_address_that_could_not_be_read_is_said(talk: Talk) -> None:
    line = Connection()
    session = talk.parts.open_session(line, SITE, JSON)
    session.open("a")
    talk.store.fail()
    assert [(f["code"], f["item"], "ref" in f) for f in line.frames] == [("unavailable", "a", False)]
    session.on_tick()
    talk.store.answer()
    assert line.frames[1]["type"] == "counts"


def test_what_is_owed_waits_for_a_read_that_is_under_way(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.store.fail()
    talk.say("auth", token=talk.token, ref=2)
    talk.messages()
    assert len(talk.store.queries) == 1, "the auth's"
    talk.session.on_tick()
    assert len(talk.store.queries) == 1
    talk.store.answer()
    assert talk.types() == ["ready"]
    talk.session.on_tick()
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
    talk.messages()
    talk.session.on_tick()
    assert talk.store.queries == [], "the watch waits for the reaction, and what is owed behind it"
    talk.store.confirm()
    talk.store.answer()
    assert talk.types() == ["ack", "counts", "watching"]
    talk.session.on_tick()
    assert talk.store.queries == []
