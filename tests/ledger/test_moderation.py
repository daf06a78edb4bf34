"""What a publisher may do to an item, on a real engine. The scripts themselves: test_react.py."""

from typing import Any

import pytest
from tallycast.contract.errors import Forbidden, Unavailable
from tallycast.engine.store import Store
from tallycast.ledger import moderation, writer
from tallycast.ledger.moderation import freeze, remove, reset, start
from tallycast.ledger.reader import Reader, State
from tallycast.ledger.writer import Writer

from tests.ledger.support import SITE, cramped, membership, read, set_reaction, submitted
from tests.support.names import NAMES


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REACT", cramped(writer.REACT, 1))


async def test_a_reset_item_is_empty_and_newer(
    link: Store, writer: Writer, reader: Reader, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moderation, "PAGE", 3)
    for number in range(20):
        before = await set_reaction(writer, f"a:{number}", "x", "like")
    assert len(await client.keys(NAMES.item_key(SITE.name, "x") + b"*")) > 10
    version = await reset(link, SITE.name, "x")
    assert version > before.version
    [state] = await read(reader, ["x"], "a:1")
    assert (state.version, state.counts, state.reaction) == (version, {"like": 0, "dislike": 0}, None)
    assert await client.keys(NAMES.item_key(SITE.name, "x") + b"*") == [NAMES.item_key(SITE.name, "x")]
    receipt = await set_reaction(writer, "a:1", "x", "dislike")
    assert receipt.counts == {"like": 0, "dislike": 1} == await membership(client, "x")


async def test_an_untouched_item_is_not_reset(link: Store, client: Any) -> None:
    assert await reset(link, SITE.name, "x") == 0
    assert await client.keys("*") == []


async def test_a_removed_item_is_gone_and_can_begin_anew(
    link: Store, writer: Writer, reader: Reader, client: Any
) -> None:
    for number in range(20):
        before = await set_reaction(writer, f"a:{number}", "x", "like")
    await start(link, SITE, {"x": {"like": 7, "dislike": 0}})
    await freeze(link, SITE.name, "x", frozen=True)
    assert await remove(link, SITE.name, "x")
    assert await client.keys("tc:{default:*") == []
    assert await read(reader, ["x"], "a:1") == [State(0, {"like": 0, "dislike": 0}, None)]
    receipt = await set_reaction(writer, "a:1", "x", "dislike")
    assert receipt.version > before.version
    assert receipt.counts == {"like": 0, "dislike": 1} == await membership(client, "x")
    assert await remove(link, SITE.name, "untouched")


async def test_a_reaction_while_an_item_is_removed_is_not_lost(
    link: Store, writer: Writer, reader: Reader, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reset and the end, with enough new members for buckets of the names of the old ones."""
    clean = moderation._clean

    async def busy(*given: Any) -> None:
        for number in range(8):
            await set_reaction(writer, f"u:{number}", "x", "like")
        await clean(*given)

    for number in range(20):
        await set_reaction(writer, f"a:{number}", "x", "like")
    monkeypatch.setattr(moderation, "_clean", busy)
    assert not await remove(link, SITE.name, "x")
    assert (await read(reader, ["x"], "u:7"))[0][1:3] == ({"like": 8, "dislike": 0}, "like")
    assert await membership(client, "x") == {"like": 8, "dislike": 0}


async def test_members_that_were_not_removed_yet_do_not_come_back(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("the engine is away")

    for number in range(20):
        await set_reaction(writer, f"a:{number}", "x", "like")
    with monkeypatch.context() as broken:
        broken.setattr(link, "execute", away)
        assert await reset(link, SITE.name, "x")
    assert len(await client.keys(NAMES.item_key(SITE.name, "x") + b"0.*")) > 10
    for number in range(10):
        await set_reaction(writer, f"a:{number}", "x", "dislike")
    assert await membership(client, "x") == {"like": 0, "dislike": 10}


async def test_a_frozen_item_takes_no_reactions(link: Store, writer: Writer, reader: Reader) -> None:
    first = await set_reaction(writer, "a:1", "x", "like")
    assert await freeze(link, SITE.name, "x", frozen=True) is True
    assert await freeze(link, SITE.name, "x", frozen=True) is False
    for visitor, what in (("a:1", "dislike"), ("a:1", "like"), ("a:1", None), ("a:2", "like")):
        refusal = await submitted(writer, visitor, "x", what)
        assert isinstance(refusal, Forbidden)
        assert refusal.item == "x"
    # In one batch with others, which are not concerned.
    answers = [submitted(writer, "a:2", item, "like") for item in ("y", "x", "z")]
    assert [isinstance(await answer, Forbidden) for answer in answers] == [False, True, False]
    [state] = await read(reader, ["x"], "a:1")
    assert (state.version, state.counts["like"], state.reaction) == (first.version, 1, "like")
    assert state.frozen
    assert await reset(link, SITE.name, "x")
    assert (await read(reader, ["x"]))[0].frozen, "reset is not thawed"
    assert await freeze(link, SITE.name, "x", frozen=False) is True
    assert (await set_reaction(writer, "a:2", "x", "like")).counts == {"like": 1, "dislike": 0}
    assert not (await read(reader, ["x"]))[0].frozen


async def test_an_item_can_be_frozen_before_anybody_touches_it(
    link: Store, writer: Writer, reader: Reader
) -> None:
    await freeze(link, SITE.name, "x", frozen=True)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Forbidden)
    [state] = await read(reader, ["x"])
    assert (state.version, state.frozen) == (0, True)
