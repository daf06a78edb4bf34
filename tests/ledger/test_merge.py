"""From anonymous to known: the scripts beside the readable rule, interrupted and taken up again at will."""

import asyncio
from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine import keys
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger import merge, writer
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.reader import Query, Reader
from tallycast.ledger.writer import Committed, StandaloneWriter, Writer
from tallycast.signals import choice
from tallycast.signals.choice import Item

from tests.ledger.support import SITE, cramped, read, set_reaction, stored, submitted
from tests.support.names import NAMES
from tests.support.waiting import eventually

ITEMS = ("a", "b}", "{c", "é", "e")
STRANGERS = ("a:1", "a:2")
ACCOUNTS = ("u:1", "u:2")
KINDS = (None, *SITE.kinds)


def a_merge(stranger: str, account: str) -> tuple[Merge, "asyncio.Future[Refusal | None]"]:
    future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    return Merge(SITE.name, keys.member(stranger), keys.member(account), future.set_result), future


async def merged(merger: Merger, stranger: str, account: str) -> Refusal | None:
    """Merge and wait; the refusal, if any."""
    asked, future = a_merge(stranger, account)
    merger.submit(asked)
    return await future


class MergeAndRule(RuleBasedStateMachine):
    """People react; strangers become accounts, in steps that anything may come between."""

    url: str
    client: Any

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.loop = asyncio.new_event_loop()
        self.link = StandaloneStore(self.url)
        self.writer, self.merger = StandaloneWriter(self.link), Merger(self.link)
        self.model: dict[str, Item] = {}
        self.became: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.link.close())
            self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(
        visitor=st.sampled_from(STRANGERS + ACCOUNTS),
        item=st.sampled_from(ITEMS),
        reaction=st.sampled_from(KINDS),
    )
    def react(self, visitor: str, item: str, reaction: str | None) -> None:
        async def ask() -> Committed | Refusal:
            return await submitted(self.writer, visitor, item, reaction)

        answer = self.run(ask())
        before = self.model.get(item, Item())
        if visitor in self.became and visitor not in before.held and reaction is not None:
            assert isinstance(answer, Unauthorized), "a retired visitor comes to hold nothing"
            return
        assert isinstance(answer, Committed)
        after = self.model[item] = choice.react(before, visitor, reaction, answer.version)
        assert (answer.version, answer.counts) == (after.version, after.counts(SITE.kinds))

    @rule(visitor=st.sampled_from(STRANGERS), account=st.sampled_from(ACCOUNTS))
    def retire(self, visitor: str, account: str) -> None:
        async def ask() -> None:
            await self.merger.retire(a_merge(visitor, account)[0])

        if self.became.setdefault(visitor, account) == account:
            self.run(ask())
        else:
            with pytest.raises(Unauthorized):
                self.run(ask())

    @rule(visitor=st.sampled_from(STRANGERS), many=st.integers(1, 3))
    def move(self, visitor: str, many: int) -> None:
        account = self.became.get(visitor)
        if account is None:
            return
        page = self.client.zrange(NAMES.taken_key(SITE.name, keys.member(visitor)), 0, many - 1)

        async def ask() -> bool:
            return await self.merger.move(a_merge(visitor, account)[0])

        before, merge.PAGE = merge.PAGE, many
        try:
            assert self.run(ask()) is bool(page)
        finally:
            merge.PAGE = before
        for raw in page:
            item = raw.decode()
            old = self.model.get(item, Item())
            new = choice.merge(old, visitor, account, old.version + 1)
            if new is not old:
                version = stored(self.client, SITE.name, item)[0].version
                assert version > old.version
                self.model[item] = Item(new.held, version)

    @rule()
    def look(self) -> None:
        """A worker goes on with whatever was left unfinished; here that is everything."""
        for visitor, account in self.became.items():
            note = [SITE.name.encode(), keys.member(visitor), keys.member(account)]
            self.client.zadd(NAMES.merges, {msgpack.packb(note): 0})
        self.run(self.merger.resume_idle())
        assert not self.client.exists(NAMES.merges)
        for visitor, account in self.became.items():
            assert not self.client.exists(NAMES.taken_key(SITE.name, keys.member(visitor)))
            for item, old in self.model.items():
                new = choice.merge(old, visitor, account, old.version + 1)
                if new is not old:
                    self.model[item] = Item(new.held, stored(self.client, SITE.name, item)[0].version)

    @rule(visitor=st.sampled_from(STRANGERS), account=st.sampled_from(ACCOUNTS))
    def whole(self, visitor: str, account: str) -> None:
        """All steps at once, as a request does them."""
        if self.became.get(visitor, account) != account:
            return
        self.retire(visitor, account)
        while self.client.exists(NAMES.taken_key(SITE.name, keys.member(visitor))):
            self.move(visitor, 2)
        assert all(visitor not in item.held for item in self.model.values())

    @invariant()
    def stored_is_what_the_rule_says(self) -> None:
        for item, model in getattr(self, "model", {}).items():
            state, held = stored(self.client, SITE.name, item)
            assert state.version == model.version
            assert held == {keys.member(visitor): kind for visitor, kind in model.held.items()}
            assert {kind: state.counts.get(kind, 0) for kind in SITE.kinds} == model.counts(SITE.kinds)
            for visitor in model.held.keys() - self.became.keys():
                assert self.client.zscore(NAMES.index_key(SITE.name, keys.member(visitor)), item) is not None


@pytest.mark.timeout(300)
def test_the_scripts_never_differ_from_the_rule(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REACT", cramped(writer.REACT, 1))
    with Redis.from_url(engine) as client:

        class Machine(MergeAndRule):
            pass

        Machine.client, Machine.url = client, engine
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=150,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


async def test_many_items_move_and_watchers_are_notified(
    link: Store, writer: Writer, reader: Reader, client: Any
) -> None:
    items = [str(i) for i in range(2 * merge.PAGE + 1)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await set_reaction(writer, "u:1", "0", "dislike")
    async with client.pubsub() as pubsub:
        for channel in (
            NAMES.item_channel(SITE.name, "0"),
            NAMES.item_channel(SITE.name, "1"),
            NAMES.visitor_channel(SITE.name, keys.member("u:1")),
            NAMES.visitor_channel(SITE.name, keys.member("a:1")),
        ):
            await pubsub.subscribe(channel)
            await pubsub.get_message(timeout=5)
        assert await merged(Merger(link), "a:1", "u:1") is None
        received = [await pubsub.get_message(ignore_subscribe_messages=True, timeout=5) for _ in range(4)]
        reply = {message["channel"]: message["data"] for message in received if message}
    assert reply[NAMES.visitor_channel(SITE.name, keys.member("a:1"))] == b""
    states = await read(reader, items[:100], "u:1")
    assert [state.reaction for state in states] == ["dislike"] + ["like"] * 99
    assert states[0].counts == {"like": 0, "dislike": 1}
    assert states[1].counts == {"like": 1, "dislike": 0}
    assert msgpack.unpackb(reply[NAMES.item_channel(SITE.name, "0")]) == [states[0].version, states[0].counts]
    assert not await client.exists(NAMES.taken_key(SITE.name, keys.member("a:1")))
    assert await client.zcard(NAMES.index_key(SITE.name, keys.member("u:1"))) == len(items)
    assert 0 < await client.ttl(NAMES.index_key(SITE.name, keys.member("a:1"))) <= merge.TOMBSTONE_LIFETIME


async def test_a_retired_visitor_is_unauthorized(link: Store, writer: Writer, reader: Reader) -> None:
    await set_reaction(writer, "a:1", "a", "like")
    assert await merged(Merger(link), "a:1", "u:1") is None
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    reader.submit(Query(SITE, [], "a:1", future.set_result))
    assert isinstance(await future, Unauthorized)
    # In one batch with others, that are not concerned.
    answers = await asyncio.gather(
        submitted(writer, "a:1", "a", "like"),
        submitted(writer, "u:2", "a", "like"),
        submitted(writer, "a:1", "b", "like"),
        submitted(writer, "a:2", "b", "dislike"),
    )
    assert [type(answer) for answer in answers] == [Unauthorized, Committed, Unauthorized, Committed]
    assert isinstance(answers[1], Committed)
    assert answers[1].counts == {"like": 2, "dislike": 0}
    # The same again is harmless, and another account comes too late.
    assert await merged(Merger(link), "a:1", "u:1") is None
    assert isinstance(await merged(Merger(link), "a:1", "u:3"), Unauthorized)


async def test_a_visitor_that_never_reacted_is_retired_too(link: Store, writer: Writer) -> None:
    assert await merged(Merger(link), "a:9", "u:1") is None
    assert isinstance(await submitted(writer, "a:9", "a", "like"), Unauthorized)


async def test_racing_reactions_of_other_tabs_are_never_counted_twice(
    link: Store, writer: Writer, reader: Reader
) -> None:
    items = [str(i) for i in range(50)]
    merger = Merger(link)
    before = [submitted(writer, "a:1", item, "like") for item in items[:25]]
    first, second = merged(merger, "a:1", "u:1"), merged(merger, "a:1", "u:1")
    during = [submitted(writer, visitor, item, "like") for item in items for visitor in ("a:1", "u:1")]
    assert await asyncio.gather(first, second) == [None, None]
    await asyncio.gather(*before, *during)
    await eventually(lambda: not merger._tasks)
    assert await merged(merger, "a:1", "u:1") is None
    states = await read(reader, items, "u:1")
    assert [(state.counts["like"], state.reaction) for state in states] == [(1, "like")] * 50


async def test_a_merge_that_is_cut_off_goes_on_with_the_same_request(
    link: Store, writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [str(i) for i in range(250)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    real, runs = link.commit, 0

    async def unreliable(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs == 5:  # the visitor, and twice the account's index and the items
            raise Unavailable("the engine is away")
        return await real(*given)

    monkeypatch.setattr(link, "commit", unreliable)
    merger = Merger(link)
    assert isinstance(await merged(merger, "a:1", "u:1"), Unavailable)
    states = await read(reader, items[:250], "u:1")
    assert [state.reaction for state in states].count("like") == merge.PAGE
    assert {state.counts["like"] for state in states} == {1}
    assert await merged(merger, "a:1", "u:1") is None
    states = await read(reader, items, "u:1")
    assert {(state.counts["like"], state.reaction) for state in states} == {(1, "like")}


async def test_a_merge_that_is_cut_off_is_finished_by_any_worker(
    link: Store, writer: Writer, reader: Reader, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "PAGE", 10)
    items = [str(i) for i in range(25)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    real, runs = link.commit, 0

    async def unreliable(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs == 5:  # the visitor, and twice the account's index and the items
            raise Unavailable("the engine is away")
        return await real(*given)

    with monkeypatch.context() as broken:
        broken.setattr(link, "commit", unreliable)
        assert isinstance(await merged(Merger(link), "a:1", "u:1"), Unavailable)
    for item in items:
        await set_reaction(writer, "u:1", item, "dislike")
    assert {sum(state.counts.values()) for state in await read(reader, items)} == {1, 2}

    other = Merger(link)
    await other.resume_idle()
    assert other.resumed == 0, "another still has it"
    monkeypatch.setattr(merge, "IDLE_TIME", -1)
    monkeypatch.setattr(merge, "INTERVAL", 0.01)
    following = asyncio.create_task(other.run())
    with Redis.from_url(engine) as client:
        await eventually(lambda: not client.exists(NAMES.merges))
    following.cancel()
    assert other.resumed == 1
    states = await read(reader, items, "u:1")
    assert {(state.counts["like"], state.counts["dislike"], state.reaction) for state in states} == {
        (0, 1, "dislike")
    }


async def test_a_merge_that_was_not_begun_is_not_begun_later(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was answered with unavailable long ago."""

    async def away(*_: Any) -> Any:
        raise Unavailable("the engine is away")

    await set_reaction(writer, "a:1", "x", "like")
    with monkeypatch.context() as broken:
        broken.setattr(link, "commit", away)
        assert isinstance(await merged(Merger(link), "a:1", "u:1"), Unavailable)
    await client.zadd(NAMES.merges, {b"nonsense": 0, msgpack.packb([1, 2]): 0, msgpack.packb([1, 2, 3]): 0})
    assert await client.zcard(NAMES.merges) == 4
    monkeypatch.setattr(merge, "IDLE_TIME", -1)
    merger = Merger(link)
    await merger.resume_idle()
    assert merger.resumed == 0
    assert not await client.exists(NAMES.merges)
    await set_reaction(writer, "a:1", "y", "like")


async def test_a_finished_merge_leaves_no_note(link: Store, writer: Writer, client: Any) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    assert await merged(Merger(link), "a:1", "u:1") is None
    assert not await client.exists(NAMES.merges)


async def test_too_many_at_once_are_refused(link: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "CAPACITY", 1)
    merger = Merger(link)
    first = asyncio.ensure_future(merged(merger, "a:1", "u:1"))
    await asyncio.sleep(0)
    assert isinstance(await merged(merger, "a:2", "u:2"), Unavailable)
    assert await first is None
    await merger.close()
