"""The end of a session: what is answered before it, and what is left behind."""

import gc
from weakref import ref

from tallycast.contract.errors import CloseCode
from tallycast.engine.keys import member

from tests.session.support import SITE, Talk
from tests.support.names import NAMES


def test_a_session_that_is_gone_leaves_nothing_behind(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("watch", items=["a"])
    talk.store.answer()
    talk.say("react", item="a", reaction="like")
    talk.say("watch", items=["b"])
    talk.messages()
    talk.session.close()
    talk.store.confirm()
    talk.publish("a", 500)
    talk.parts.visitors.notify(NAMES.visitor_channel(SITE.name, member(talk.visitor)), "a", 600, None, 0)
    assert talk.messages() == []
    assert talk.store.queries == []
    assert talk.parts.visitors._listeners == {}


def test_a_session_that_is_gone_is_freed_without_a_garbage_collection(talk: Talk) -> None:
    gc.disable()
    try:
        session, line = talk.another()
        session.queue.received(b'{"type":"auth","token":"%s"}' % talk.token.encode(), False)
        for _ in range(2):
            session.queue.received(b'{"type":"watch","items":["a"]}', False)
            session.queue.received(b'{"type":"react","item":"a","reaction":"like"}', False)
            talk.store.answer()
            talk.store.confirm()
        left = ref(line)
        session.close()
        del session, line
        assert left() is None
    finally:
        gc.enable()


def test_an_answer_to_a_connection_that_is_gone_is_still_taken_by_the_hub(talk: Talk) -> None:
    other, line = talk.another()
    talk.say("watch", items=["a"])
    other.queue.received(b'{"type":"watch","items":["a"]}', False)
    talk.session.close()
    talk.store.answer()
    talk.store.answer()
    assert [frame["type"] for frame in line.frames] == ["counts", "watching"]
    assert talk.messages() == []


def test_a_session_with_nothing_under_way_leaves_at_once(talk: Talk) -> None:
    talk.session.bye(1.5)
    assert talk.line.closed is None
    talk.session.close_gracefully()
    assert talk.line.closed is CloseCode.RESTART
    assert talk.messages() == [{"type": "bye", "retry_after": 1.5}]


def test_what_was_asked_for_is_answered_before_it_leaves(talk: Talk) -> None:
    talk.say("auth", token=talk.token)
    talk.say("react", item="a", reaction="like", ref=1)
    talk.say("react", item="b", reaction="like", ref=2)
    talk.say("watch", items=["a"], ref=3)
    talk.session.bye(1.5)
    talk.session.close_gracefully()
    talk.session.close_gracefully()
    # It crosses with the close: no answer, and no effect.
    talk.say("react", item="c", reaction="like", ref=4)
    assert talk.line.closed is None
    talk.store.confirm(2)
    assert talk.line.closed is None
    talk.store.answer()
    assert talk.line.closed is CloseCode.RESTART
    assert talk.store.written == []
    assert [frame.get("ref") for frame in talk.messages() if "ref" in frame] == [1, 2, 3]


def test_what_is_refused_is_answered_too(talk: Talk) -> None:
    talk.say("watch", items=["a"], ref=1)
    talk.session.close_gracefully()
    assert talk.line.closed is None
    talk.store.fail()
    assert talk.line.closed is CloseCode.RESTART
    assert [frame["code"] for frame in talk.messages()] == ["unavailable"]
