"""The writer on a real engine: grouping, order, refusal."""

import asyncio
import os
import signal
from typing import Any

import pytest
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.engine import keys
from tallycast.engine.clock import ClockOffset
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger import writer as writer_module
from tallycast.ledger.writer import Committed, SetReaction, StandaloneWriter, Writer

from tests.ledger.support import SITE, membership, set_reaction, submitted
from tests.support.waiting import eventually


async def test_a_reaction_is_committed_and_stored(writer: Writer, client: Any) -> None:
    receipt = await set_reaction(writer, "a:1", "x", "like")
    assert receipt.counts == {"like": 1, "dislike": 0}
    assert receipt.version > 1_700_000_000_000_000
    assert await membership(client, "x") == receipt.counts


async def test_granting_it_twice_is_granting_it_once(writer: Writer) -> None:
    first = await set_reaction(writer, "a:1", "x", "like")
    assert await set_reaction(writer, "a:1", "x", "like") == first
    moved = await set_reaction(writer, "a:1", "x", "dislike")
    assert moved.counts == {"like": 0, "dislike": 1}
    assert moved.version > first.version
    assert (await set_reaction(writer, "a:1", "x", None)).counts == {"like": 0, "dislike": 0}


async def test_what_comes_together_rides_together_and_in_order(writer: Writer, link: StandaloneStore) -> None:
    calls = []
    run = link._run

    async def counted(*arguments: Any) -> bytes:
        calls.append(arguments)
        return await run(*arguments)

    link._run = counted  # type: ignore[method-assign]
    await set_reaction(writer, "a:0", "x", "like")
    calls.clear()
    futures = [submitted(writer, f"a:{i}", f"x{i % 3}", ("like", "dislike", None)[i % 3]) for i in range(900)]
    answers = await asyncio.gather(*futures)
    assert all(isinstance(answer, Committed) for answer in answers)
    assert len(calls) == 2, "512 and the rest"
    versions = [answer.version for answer in answers[::3] if isinstance(answer, Committed)]
    assert versions == sorted(versions)


async def test_of_two_reactions_in_one_batch_the_later_one_stands(writer: Writer, client: Any) -> None:
    futures = [submitted(writer, "a:1", "x", kind) for kind in ("like", None, "dislike", "like", "dislike")]
    answers = await asyncio.gather(*futures)
    counts = [answer.counts for answer in answers if isinstance(answer, Committed)]
    assert counts == [{"like": a, "dislike": b} for a, b in ((1, 0), (0, 0), (0, 1), (1, 0), (0, 1))]
    assert await membership(client, "x") == {"like": 0, "dislike": 1}


async def test_a_full_queue_refuses_at_once(link: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "CAPACITY", 3)
    writer = StandaloneWriter(link)
    answers: list[Committed | Refusal] = []
    for i in range(4):
        writer.submit(SetReaction(SITE, "x", keys.member(f"a:{i}"), "like", 0, answers.append))
    assert len(answers) == 1
    assert isinstance(answers[0], Unavailable)
    await eventually(lambda: len(answers) == 4)
    assert [isinstance(answer, Committed) for answer in answers] == [False, True, True, True]
    await writer.close()


async def test_without_an_engine_everything_waiting_is_refused() -> None:
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    writer = StandaloneWriter(link)
    answers = await asyncio.gather(*(submitted(writer, f"a:{i}", "x", "like") for i in range(1000)))
    assert all(isinstance(answer, Unavailable) and answer.retry_after for answer in answers)
    await writer.close()
    await link.close()


async def test_a_closed_writer_refuses(link: Store) -> None:
    writer = StandaloneWriter(link)
    await writer.close()
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Unavailable)


async def test_a_batch_that_the_engine_came_to_too_late_has_no_effect(
    writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClockOffset, "deadline", lambda *_: 1)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Unavailable)
    assert await client.keys("*") == []


async def test_unavailable_is_not_said_before_it_is_certain(writer: Writer, client: Any) -> None:
    """A reaction in the buffer of an engine that stands still, while our end of the link is gone."""
    await set_reaction(writer, "a:1", "x", "like")
    engine = (await client.info())["process_id"]
    os.kill(engine, signal.SIGSTOP)
    try:
        abandoned = submitted(writer, "a:1", "x", "dislike")
        in_use = writer._store._link.pool._in_use_connections
        await eventually(lambda: any(connection._writer is not None for connection in in_use))
        for connection in list(in_use):
            connection._writer.transport.abort()
        await asyncio.wait({abandoned}, timeout=0.5)
        assert not abandoned.done()
    finally:
        os.kill(engine, signal.SIGCONT)
    answer = await abandoned
    assert isinstance(answer, Unavailable)
    # It may have taken effect, once; what is acknowledged from here on is not overtaken by it.
    assert (await set_reaction(writer, "a:1", "x", None)).counts == {"like": 0, "dislike": 0}
    assert await membership(client, "x") == {"like": 0, "dislike": 0}


async def test_a_clock_that_was_set_costs_no_reaction(writer: Writer, link: StandaloneStore) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    link._link.clock.update(1)
    assert (await set_reaction(writer, "a:2", "x", "like")).counts == {"like": 2, "dislike": 0}


async def test_an_answer_that_cannot_be_taken_costs_the_others_nothing(writer: Writer) -> None:
    def defect(answer: Committed | Refusal) -> None:
        raise ValueError("a defect")

    before = submitted(writer, "a:1", "x", "like")
    writer.submit(SetReaction(SITE, "x", keys.member("a:2"), "like", 0, defect))
    after = submitted(writer, "a:3", "x", "like")
    answers = await asyncio.gather(before, after)
    assert [answer.counts["like"] for answer in answers if isinstance(answer, Committed)] == [1, 3]


async def test_an_engine_that_is_full_grants_nothing_and_loses_nothing(writer: Writer, client: Any) -> None:
    before = await set_reaction(writer, "a:1", "x", "like")
    await client.config_set("maxmemory", 1)
    try:
        assert isinstance(await submitted(writer, "a:2", "x", "like"), Unavailable)
        assert await membership(client, "x") == before.counts
    finally:
        await client.config_set("maxmemory", 0)
    assert (await set_reaction(writer, "a:2", "x", "like")).counts == {"like": 2, "dislike": 0}


async def test_scripts_that_the_engine_forgot_are_loaded_again(writer: Writer, client: Any) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    await client.script_flush()
    assert (await set_reaction(writer, "a:2", "x", "like")).counts == {"like": 2, "dislike": 0}
