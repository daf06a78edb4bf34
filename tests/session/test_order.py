"""The order of answers, and how much may be under way."""

from collections.abc import Callable

from tallycast.engine.keys import member
from tallycast.ledger.writer import SetReaction
from tallycast.session.queue import MAX_UNDER_WAY, MAX_WAITING

from tests.session.support import GONE, Talk


def test_reactions_are_sent_on_without_waiting_and_acked_in_order(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    for ref in range(3):
        talk.say("react", item="a", reaction="like", ref=ref)
    assert [wanted.member for wanted in talk.store.written] == [member(talk.visitor)] * 3
    talk.store.confirm(3)
    assert [(f["type"], f.get("ref")) for f in talk.messages()] == [("ready", None)] + [
        ("ack", i) for i in range(3)
    ]


def test_a_watch_waits_for_the_reactions_before_it(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("react", item="a", reaction="like")
    talk.say("watch", items=["a"], ref=1)
    talk.say("react", item="a", reaction=None, ref=2)
    talk.say("nonsense", ref=3)
    talk.say("ping", ref=4)
    assert talk.store.queries == []
    talk.store.confirm()
    talk.store.held["a"] = "like"
    assert len(talk.store.written) == 0, "the reaction after the watch waits for it"
    talk.store.answer()
    assert talk.types() == ["ready", "ack", "counts", "mine", "watching", "error", "pong"]
    talk.store.confirm()
    assert talk.types() == ["ack"]


def test_a_connection_that_sends_faster_than_it_is_answered_is_not_read(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    for ref in range(MAX_UNDER_WAY + MAX_WAITING):
        talk.say("react", item="a", reaction="like", ref=ref)
    assert len(talk.store.written) == MAX_UNDER_WAY
    assert talk.line.held
    talk.store.confirm(1)
    assert not talk.line.held
    talk.store.confirm(MAX_UNDER_WAY)
    talk.store.confirm(MAX_WAITING - 1)
    acks = [frame["ref"] for frame in talk.messages() if frame["type"] == "ack"]
    assert acks == list(range(MAX_UNDER_WAY + MAX_WAITING))


def test_thousands_of_messages_that_are_answered_at_once_do_not_pile_up(talk: Talk) -> None:
    """Answers that come at once must not call one another deeper and deeper."""
    refusing: Callable[[SetReaction], None] = lambda wanted: wanted.done(GONE)  # noqa: E731
    talk.parts.reactions._write = refusing
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    for ref in range(5000):
        talk.say("react", item="a", reaction="like", ref=ref)
    talk.store.answer()
    assert [f["ref"] for f in talk.messages() if f.get("code") == "unavailable"] == list(range(5000))
