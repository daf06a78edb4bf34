"""Visitors on one connection: merges, revocations, sites that change, tokens that run out."""

import pytest
from tallycast.contract.errors import CloseCode, Refusal, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine.keys import member
from tallycast.ledger.reader import Query
from tallycast.session.session import TOKEN_GRACE

from tests.session.support import GONE, SITE, Talk, published
from tests.support.names import NAMES


def test_an_auth_that_cannot_be_read_for_leaves_it_unauthenticated(talk: Talk) -> None:
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("auth", token=talk.token, ref=1)
    talk.store.fail()
    talk.say("react", item="a", reaction="like", ref=2)
    frames = [frame for frame in talk.messages() if frame["type"] == "error"]
    assert [(f["code"], f["ref"]) for f in frames] == [("unavailable", 1), ("unauthorized", 2)]
    assert frames[0]["retry_after"] > 0


def test_a_merge_comes_before_what_is_shown(talk: Talk) -> None:
    token = published(talk)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.messages()
    talk.say("auth", token=token, merge=talk.token, ref=1)
    talk.say("react", item="b", reaction="like", ref=2)
    assert talk.store.queries == talk.store.written == []
    (merge,) = talk.store.merges
    assert (merge.visitor, merge.account) == (member(talk.visitor), member("u:7"))
    merge.done(None)
    talk.store.held["a"] = "like"
    talk.store.answer()
    assert [(f["type"], f.get("visitor")) for f in talk.messages()] == [("mine", None), ("ready", "u:7")]
    assert [wanted.member for wanted in talk.store.written] == [member("u:7")]


@pytest.mark.parametrize("refusal", [GONE, Unauthorized("another's")])
def test_a_merge_that_is_refused_leaves_it_unauthenticated(talk: Talk, refusal: Refusal) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.store.merges.pop().done(refusal)
    talk.say("react", item="a", reaction="like", ref=2)
    assert [(f["code"], f["ref"]) for f in talk.messages()] == [(refusal.code, 1), ("unauthorized", 2)]


def test_a_merge_needs_a_stranger(talk: Talk) -> None:
    token = published(talk)
    for wrong in ("", "x", token):
        talk.say("auth", token=token, merge=wrong)
        assert [frame["code"] for frame in talk.messages()] == ["unauthorized"]
    talk.now = talk.expires + 86400.0
    talk.say("auth", token=published(talk), merge=talk.token)
    assert len(talk.store.merges) == 1, "as with renewal, one that has expired will do"


def test_a_visitor_revoked_while_merging_is_not_let_in(talk: Talk) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.parts.visitors.revoke(NAMES.visitor_channel("default", member("u:7")), talk.now)
    talk.store.merges.pop().done(None)
    assert [(f["code"], f.get("ref")) for f in talk.messages()] == [
        ("unauthorized", None),
        ("unauthorized", 1),
    ]


def test_a_connection_that_is_gone_is_not_answered(talk: Talk) -> None:
    talk.say("auth", token=published(talk), merge=talk.token, ref=1)
    talk.session.close()
    talk.store.merges.pop().done(None)
    assert talk.messages() == []


def test_a_retired_visitor_is_notified_once_and_watches_on(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.messages()
    channel = NAMES.visitor_channel("default", member(talk.visitor))
    for _ in range(2):
        talk.parts.visitors.retire(channel)
    talk.say("watch", items=["a"])
    talk.store.answer()
    assert talk.types() == ["error", "counts", "watching"]


def test_a_retirement_found_out_by_asking_the_store(talk: Talk) -> None:
    """The word did not reach this worker."""
    retired = Unauthorized("an account now")
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"], ref=1)
    talk.store.queries.pop(0).done(retired)
    talk.store.answer()
    assert [(f["type"], f.get("ref")) for f in talk.messages()] == [
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
    frames = [frame for frame in talk.messages() if frame["type"] == "error"]
    assert [(f["code"], f["ref"]) for f in frames] == [("unauthorized", 2), ("unauthorized", 3)]


def test_a_reaction_does_not_wait_until_the_store_knows_the_visitor(talk: Talk) -> None:
    asked: list[Query] = []
    talk.parts.subscriptions.read = asked.append
    talk.session, talk.line = talk.another()
    talk.say("auth", token=talk.token, ref=1)
    talk.say("react", item="a", reaction="like", ref=2)
    assert [wanted.member for wanted in talk.store.written] == [member(talk.visitor)]
    other = talk.guard.new_visitor(SITE)[1]
    talk.say("auth", token=other, ref=3)
    talk.store.confirm()
    asked.pop(0).done([])
    asked.pop(0).done(Unauthorized("retired"))
    talk.say("react", item="a", reaction="like", ref=4)
    assert [(f["type"], f["ref"]) for f in talk.messages()] == [
        ("ack", 2),
        ("ready", 1),
        ("error", 3),
        ("error", 4),
    ]


def test_only_what_was_issued_before_is_revoked(talk: Talk) -> None:
    talk.say("auth", token=published(talk), ref=1)
    channel = NAMES.visitor_channel("default", member("u:7"))
    talk.parts.visitors.revoke(channel, talk.now - 1)
    assert talk.types() == ["ready"]
    talk.parts.visitors.revoke(channel, talk.now)
    assert [(f["code"], f.get("ref")) for f in talk.messages()] == [("unauthorized", None)]


def test_a_site_that_is_gone(talk: Talk) -> None:
    talk.guard.sites = {}
    talk.session.on_tick()
    assert talk.line.closed is CloseCode.UNKNOWN_SITE


def test_a_site_that_was_read_again(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.guard.sites = {"default": Site(kinds=("love",), anonymous=False)}
    talk.session.on_tick()
    assert [(f["type"], f.get("ref")) for f in talk.messages()] == [("ready", None), ("error", None)]
    talk.session.on_tick()
    assert talk.messages() == []
    talk.say("auth", token=talk.token)
    assert [f["code"] for f in talk.messages()] == ["forbidden"]


def test_merging_two_strangers_is_forbidden(talk: Talk) -> None:
    other = talk.guard.new_visitor(SITE)[1]
    talk.say("auth", token=talk.token, merge=other)
    talk.say("react", item="a", reaction="like")
    assert [frame["code"] for frame in talk.messages()] == ["forbidden", "unauthorized"]


def test_a_token_that_runs_out_leaves_an_anonymous_watcher(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.now = talk.expires + TOKEN_GRACE
    talk.session.on_tick()
    assert "error" not in talk.types()
    talk.now += 1
    talk.session.on_tick()
    assert [(f["code"], "ref" in f) for f in talk.messages()] == [("unauthorized", False)]
    talk.say("react", item="a", reaction="like")
    talk.publish("a", 200)
    assert [frame.get("code", frame["type"]) for frame in talk.messages()] == ["unauthorized", "counts"]
