"""What one visitor holds on a real engine: all of it found, all of it taken back, whatever comes between."""

import asyncio
from typing import Any

import pytest
from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine import keys
from tallycast.engine.store import Store
from tallycast.ledger import merge, visitor_reactions
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.moderation import freeze
from tallycast.ledger.reader import Query, Reader
from tallycast.ledger.visitor_reactions import VisitorReactions
from tallycast.ledger.writer import SetReaction, Writer

from tests.ledger.support import SITE, membership, read, set_reaction
from tests.support.names import NAMES

INDEX = NAMES.index_key(SITE.name, keys.member("a:1"))


@pytest.fixture
def kept(link: Store, reader: Reader, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> VisitorReactions:
    monkeypatch.setattr(visitor_reactions, "PAGE", 4)
    monkeypatch.setattr(visitor_reactions, "LISTED", 4)
    return VisitorReactions(link, reader.submit, writer.submit, Merger(link).finish_pending_merges)


async def listed(kept: VisitorReactions, visitor: str = "a:1") -> list[tuple[str, str | None]]:
    return [(item, state.reaction) async for page in kept.pages(SITE, visitor) for item, state in page]


async def test_all_of_it_is_listed_the_oldest_first(kept: VisitorReactions, writer: Writer) -> None:
    for i in range(10):
        await set_reaction(writer, "a:1", f"i{i}", "like")
    await set_reaction(writer, "a:1", "i3", None)
    await set_reaction(writer, "a:2", "other", "like")
    await set_reaction(writer, "a:1", "i0", "dislike")
    for reaction in (None, "like"):
        await set_reaction(writer, "a:1", "i5", reaction)
    assert await listed(kept) == [("i0", "dislike")] + [(f"i{i}", "like") for i in (1, 2, 4, 6, 7, 8, 9, 5)]
    assert await listed(kept, "a:3") == []


async def test_those_of_one_moment_are_not_divided(
    kept: VisitorReactions, writer: Writer, client: Any
) -> None:
    """One batch has one time, and may be longer than a page."""
    items = [f"i{i:02}" for i in range(11)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await client.zadd(INDEX, {item: 7 if 2 <= i < 9 else 100 + i for i, item in enumerate(items)})
    assert sorted(await listed(kept)) == [(item, "like") for item in items]


async def test_however_many_have_one_time_few_are_asked_for_in_one_step(
    kept: VisitorReactions, link: Store, reader: Reader, writer: Writer, client: Any
) -> None:
    """An import can say of all reactions of a visitor that they are of the same day."""
    items = [f"i{i:02}" for i in range(50)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await client.zadd(INDEX, dict.fromkeys(items, 7))
    most = 0

    def read(query: Query) -> None:
        nonlocal most
        most = max(most, len(query.items))
        reader.submit(query)

    watched = VisitorReactions(link, read, writer.submit, Merger(link).finish_pending_merges)
    assert sorted(await listed(watched)) == [(item, "like") for item in items]
    assert await watched.erase(SITE, "a:1") == 50
    assert most == 4


async def test_none_is_missed_when_others_are_reacted_to_meanwhile(
    kept: VisitorReactions, writer: Writer
) -> None:
    for i in range(12):
        await set_reaction(writer, "a:1", f"i{i}", "like")
    found: dict[str, str | None] = {}
    async for page in kept.pages(SITE, "a:1"):
        found |= {item: state.reaction for item, state in page}
        if len(found) == 4:
            # Two that are listed and one that is not move to the end.
            for item in ("i1", "i2", "i9"):
                await set_reaction(writer, "a:1", item, None)
                await set_reaction(writer, "a:1", item, "dislike")
    moved = ("i1", "i2", "i9")
    assert found == {f"i{i}": "dislike" if f"i{i}" in moved else "like" for i in range(12)}


async def test_all_of_it_is_taken_back(
    kept: VisitorReactions, writer: Writer, reader: Reader, client: Any
) -> None:
    items = [f"i{i}" for i in range(10)]
    before = {}
    for item in items:
        before[item] = (await set_reaction(writer, "a:1", item, "like")).version
        await set_reaction(writer, "a:2", item, "like")
    await set_reaction(writer, "a:1", "i3", None)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.psubscribe("tc:*")
    assert await kept.erase(SITE, "a:1") == 9
    states = await read(reader, items, "a:1")
    assert {(state.counts["like"], state.reaction) for state in states} == {(1, None)}
    assert all(state.version > before[item] for item, state in zip(items, states, strict=True))
    assert [await membership(client, item) for item in items] == [{"like": 1, "dislike": 0}] * 10
    received = set()
    while len(received) < 9:
        news = await pubsub.get_message(timeout=5)
        if news is not None and not news["channel"].startswith(NAMES.visitors):
            received.add(news["channel"])
    await pubsub.aclose()
    assert received == {NAMES.item_channel(SITE.name, item) for item in items if item != "i3"}
    assert await client.exists(INDEX) == 0
    assert await kept.erase(SITE, "a:1") == 0
    assert len(await listed(kept, "a:2")) == 10


async def test_cut_off_it_goes_on_with_the_same_request(
    kept: VisitorReactions, link: Store, reader: Reader, writer: Writer, client: Any
) -> None:
    for i in range(10):
        await set_reaction(writer, "a:1", f"i{i}", "like")
    given = 0

    def unreliable(asked: SetReaction) -> None:
        nonlocal given
        given += 1
        if given == 6:
            asked.refuse(Unavailable("the engine is away"))
        else:
            writer.submit(asked)

    with pytest.raises(Unavailable):
        await VisitorReactions(link, reader.submit, unreliable, Merger(link).finish_pending_merges).erase(
            SITE, "a:1"
        )
    left = [item for item, _ in await listed(kept)]
    assert "i5" in left
    # Whatever is still held is still in the index.
    assert {item.decode() for item in await client.zrange(INDEX, 0, -1)} >= set(left)
    assert await kept.erase(SITE, "a:1") == len(left)
    assert await client.exists(INDEX) == 0


async def test_what_is_reacted_to_meanwhile_is_found_again(
    kept: VisitorReactions, link: Store, reader: Reader, writer: Writer, client: Any
) -> None:
    """Another tab reacts between the reaction that is taken back and the end of its entry in the index."""
    items = ["i0", "i1", "i2"]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    raced: list[asyncio.Task[None]] = []

    def racing(asked: SetReaction) -> None:
        done = asked.done

        async def react(answer: Any) -> None:
            await set_reaction(writer, "a:1", asked.item, "dislike")
            done(answer)

        def cleared(answer: Any) -> None:
            if len(raced) < 2:
                raced.append(asyncio.ensure_future(react(answer)))
            else:
                done(answer)

        asked.done = cleared
        writer.submit(asked)

    racer = VisitorReactions(link, reader.submit, racing, Merger(link).finish_pending_merges)
    assert await racer.erase(SITE, "a:1") == len(items) + len(raced) == 5
    assert [state.reaction for state in await read(reader, items, "a:1")] == [None] * 3
    assert await client.exists(INDEX) == 0


async def test_a_visitor_that_became_an_account_has_nothing_to_say(
    kept: VisitorReactions, link: Store, writer: Writer
) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    merger = Merger(link)
    merger.submit(Merge(SITE.name, keys.member("a:1"), keys.member("u:1"), future.set_result))
    assert await future is None
    await merger.close()
    with pytest.raises(Unauthorized):
        await listed(kept)
    with pytest.raises(Unauthorized):
        await kept.erase(SITE, "a:1")
    assert await listed(kept, "u:1") == [("x", "like")]


async def test_frozen_items_are_erased_too(
    kept: VisitorReactions, link: Store, writer: Writer, client: Any
) -> None:
    for visitor in ("a:1", "a:2"):
        await set_reaction(writer, visitor, "x", "like")
    await freeze(link, SITE.name, "x", frozen=True)
    assert await kept.erase(SITE, "a:1") == 1
    assert await membership(client, "x") == {"like": 1, "dislike": 0}


async def cut_off(link: Store, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A merge of ``a:1`` into ``u:1`` that ends after so many of its scripts: the first retires ``a:1``."""
    real, runs = link.commit, 0

    async def unreliable(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > after:
            raise Unavailable("the engine is away")
        return await real(*given)

    future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    with monkeypatch.context() as broken:
        broken.setattr(merge, "PAGE", 2)
        broken.setattr(link, "commit", unreliable)
        Merger(link).submit(Merge(SITE.name, keys.member("a:1"), keys.member("u:1"), future.set_result))
        assert isinstance(await future, Unavailable)


@pytest.mark.parametrize("after", range(6))
async def test_what_a_merge_that_was_cut_off_has_not_moved_yet_is_the_accounts(
    kept: VisitorReactions,
    link: Store,
    writer: Writer,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    items = [f"i{i}" for i in range(5)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await set_reaction(writer, "u:1", "i0", "dislike")
    await set_reaction(writer, "u:1", "own", "like")
    await cut_off(link, monkeypatch, after)
    theirs = dict.fromkeys(items[1:], "like") if after else {}
    assert dict(await listed(kept, "u:1")) == {"i0": "dislike", "own": "like"} | theirs
    assert [(await membership(client, item))["like"] for item in items[1:]] == [1] * 4
    if not after:
        # No visitor is retired, and each request got the answer that it has failed, or will be.
        assert await client.zcard(NAMES.merges) == 1


@pytest.mark.parametrize("after", range(1, 6))
async def test_nothing_comes_back_from_a_merge_that_was_cut_off(
    kept: VisitorReactions,
    link: Store,
    writer: Writer,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    items = [f"i{i}" for i in range(5)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
        await set_reaction(writer, "u:2", item, "like")
    await cut_off(link, monkeypatch, after)
    assert await kept.erase(SITE, "u:1") == 5
    monkeypatch.setattr(merge, "IDLE_TIME", -1)
    merger = Merger(link)
    await merger.resume_idle()
    assert merger.resumed == 0
    assert [await membership(client, item) for item in items] == [{"like": 1, "dislike": 0}] * 5
    for gone in (NAMES.merges, NAMES.taken_key(SITE.name, keys.member("a:1"))):
        assert not await client.exists(gone)
    assert await listed(kept, "u:1") == []
    assert await listed(kept, "u:2") == [(item, "like") for item in items]


async def test_a_merge_that_begins_while_all_is_erased_is_erased_too(
    link: Store, reader: Reader, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for visitor, item in (("u:1", "own"), ("a:1", "x"), ("a:1", "y")):
        await set_reaction(writer, visitor, item, "like")
    begun: list[asyncio.Task[None]] = []

    def racing(asked: SetReaction) -> None:
        if not begun:
            begun.append(asyncio.create_task(cut_off(link, monkeypatch, 1)))
            begun[0].add_done_callback(lambda _: writer.submit(asked))
        else:
            writer.submit(asked)

    racer = VisitorReactions(link, reader.submit, racing, Merger(link).finish_pending_merges)
    assert await racer.erase(SITE, "u:1") == 3
    await begun[0]
    assert [await membership(client, item) for item in ("own", "x", "y")] == [{"like": 0, "dislike": 0}] * 3
    assert not await client.exists(NAMES.merges)
