"""Limits of one connection, and of its visitor."""

import pytest
from tallycast.contract.errors import CloseCode
from tallycast.domain.rates import Rate

from tests.session.support import Talk, pass_time, scarce


def test_limits_that_were_read_again_hold_on_open_connections(talk: Talk) -> None:
    talk.say(type="auth", token=talk.token)
    scarce(talk, reactions=Rate(1, 2))
    for ref in range(3):
        talk.say(type="react", item="a", reaction="like", ref=ref)
    talk.store.confirm(2)
    reply = talk.line.frames[-3:]
    assert [(frame["type"], frame["ref"]) for frame in reply] == [("error", 2), ("ack", 0), ("ack", 1)]
    assert (reply[0]["code"], reply[0]["item"], reply[0]["retry_after"]) == ("rate_limited", "a", 1.0)
    pass_time(talk, 1.0)
    talk.say(type="react", item="a", reaction="like", ref=3)
    assert len(talk.store.written) == 1


def test_an_auth_that_comes_too_fast_leaves_it_unauthenticated(talk: Talk) -> None:
    """What follows it must not be taken for a reaction of the visitor before it."""
    talk.say(type="auth", token=talk.token)
    scarce(talk, messages=Rate(1, 12))
    for _ in range(10):
        talk.say(type="ping")
    # One is left, and an auth costs ten; then none is.
    for _ in range(2):
        talk.say(type="auth", token=talk.token, ref=1)
        assert (talk.line.frames[-1]["code"], talk.line.frames[-1]["ref"]) == ("rate_limited", 1)
    pass_time(talk, 30)
    talk.say(type="react", item="a", reaction="like")
    assert talk.line.frames[-1]["code"] == "unauthorized"
    assert not talk.store.written
    talk.say(type="auth", token=talk.token, ref=2)
    assert talk.line.frames[-1]["type"] == "ready"


def test_an_auth_shows_every_item_again_and_pays_for_it(talk: Talk) -> None:
    scarce(talk, ids=Rate(1, 5))
    talk.say(type="watch", items=["a", "b", "c"])
    talk.store.answer()
    talk.say(type="auth", token=talk.token, ref=1)
    assert (talk.line.frames[-1]["code"], talk.line.frames[-1]["retry_after"]) == ("rate_limited", 1.0)
    pass_time(talk, 1.0)
    talk.say(type="auth", token=talk.token, ref=2)
    talk.store.answer()
    assert talk.line.frames[-1]["type"] == "ready"


def test_what_is_bad_and_too_much_is_bad(talk: Talk) -> None:
    """Ten in a row end it, however fast they come."""
    scarce(talk, messages=Rate(1, 5))
    for _ in range(9):
        talk.say(type="dance")
    assert talk.line.closed is None
    assert {frame["code"] for frame in talk.line.frames} == {"bad_message"}
    talk.say(type="dance")
    assert talk.line.closed == CloseCode.ABUSIVE


@pytest.mark.parametrize("noise", [1, 7])
def test_a_connection_a_whole_burst_ahead_is_abusive(talk: Talk, noise: int) -> None:
    scarce(talk, messages=Rate(1, 10))
    sent = 0
    while talk.line.closed is None:
        talk.session.queue.count_frames(noise)
        sent += noise
    assert talk.line.closed == CloseCode.ABUSIVE
    assert 20 < sent <= 20 + noise
