"""Rows on a real engine: what they become, and that the same ones again change nothing."""

from typing import Any

import pytest
from tallycast.contract.errors import Forbidden, Refusal, Unauthorized
from tallycast.engine import keys
from tallycast.engine.store import Store
from tallycast.ledger.bulk_import.rows import Start, Vote
from tallycast.ledger.bulk_import.writer import ImportWriter
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.moderation import freeze, reset
from tallycast.ledger.reader import Reader, StandaloneReader, State
from tallycast.ledger.writer import StandaloneWriter, Writer

from tests.ledger.support import SITE, membership, read, set_reaction
from tests.support.names import NAMES

ANONYMOUS = "a:" + "x" * 22


@pytest.fixture
def importer(link: Store) -> ImportWriter:
    return ImportWriter(link, SITE)


@pytest.fixture
def reader(link: Store) -> Reader:
    return StandaloneReader(link)


@pytest.fixture
def writer(link: Store) -> Writer:
    return StandaloneWriter(link)


def vote(item: str, visitor: str, reaction: str, at: int | None = None) -> Vote:
    return Vote(1, item, visitor, reaction, at)


def start(item: str, like: int, dislike: int = 0) -> Start:
    return Start(1, item, {"like": like, "dislike": dislike})


async def shown(reader: Reader, item: str, visitor: str | None = None) -> State:
    return (await read(reader, [item], visitor))[0]


async def test_votes_are_reactions(importer: ImportWriter, reader: Reader, client: Any) -> None:
    rows = [vote("a", "u:1", "like"), vote("a", ANONYMOUS, "dislike"), vote("b", "u:1", "like")]
    assert await importer.write(rows) == [None] * 3
    first = await shown(reader, "a", "u:1")
    assert (first.counts, first.reaction) == ({"like": 1, "dislike": 1}, "like")
    assert await membership(client, "a") == first.counts
    assert await client.zrange(NAMES.index_key(SITE.name, keys.member("u:1")), 0, -1) == [b"a", b"b"]
    assert await importer.write(rows) == [None] * 3
    assert await shown(reader, "a", "u:1") == first


async def test_counts_to_start_from_are_shown_with_the_votes(
    importer: ImportWriter, reader: Reader, writer: Writer, client: Any
) -> None:
    await set_reaction(writer, "u:1", "a", "like")
    assert await importer.write([start("a", 1000, 5), start("b", 7), vote("b", "u:1", "like")]) == [None] * 3
    first = await shown(reader, "a", "u:1")
    assert (first.counts, first.reaction) == ({"like": 1001, "dislike": 5}, "like")
    assert (await shown(reader, "b")).counts == {"like": 8, "dislike": 0}
    assert await membership(client, "a") == {"like": 1, "dislike": 0}
    # They are set, not added, and the version stays when nothing changes.
    await importer.write([start("a", 1000, 5)])
    assert await shown(reader, "a", "u:1") == first
    # Reactions go on from there.
    assert (await set_reaction(writer, "u:2", "a", "like")).counts == {"like": 1002, "dislike": 5}
    assert (await set_reaction(writer, "u:1", "a", None)).counts == {"like": 1001, "dislike": 5}
    before = (await shown(reader, "a")).version
    await importer.write([start("a", 10)])
    last = await shown(reader, "a")
    assert last.counts == {"like": 11, "dislike": 0}
    assert last.version > before
    await reset(importer._store, SITE.name, "a")
    assert (await shown(reader, "a")).counts == {"like": 0, "dislike": 0}


async def test_starting_counts_need_no_room_for_members(
    importer: ImportWriter, reader: Reader, writer: Writer, client: Any
) -> None:
    await importer.write([start("a", 10**15)])
    await set_reaction(writer, "u:1", "a", "like")
    assert (await shown(reader, "a")).counts["like"] == 10**15 + 1
    assert await client.keys(NAMES.item_key(SITE.name, "a") + b"*") == [NAMES.item_key(SITE.name, "a")]


async def test_the_last_of_several_starts_holds(importer: ImportWriter, reader: Reader) -> None:
    assert await importer.write([start("a", 1), start("b", 5), start("a", 2)]) == [None] * 3
    assert [(await shown(reader, item)).counts["like"] for item in "ab"] == [2, 5]


async def test_watchers_hear_of_it(importer: ImportWriter, client: Any) -> None:
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe(NAMES.item_channel(SITE.name, "a"))
    for rows in ([start("a", 3)], [vote("a", "u:1", "like")]):
        await importer.write(rows)
        while (news := await pubsub.get_message(timeout=5)) is None:
            pass
        assert news["channel"] == NAMES.item_channel(SITE.name, "a")
    await pubsub.aclose()


async def test_the_latest_time_wins_in_any_order(importer: ImportWriter, reader: Reader) -> None:
    rows = [vote("a", "u:1", reaction, at) for reaction, at in (("like", 20), ("dislike", 30), ("like", 10))]
    for order in (rows, rows[::-1], [rows[1], rows[0], rows[2]], rows + rows):
        await importer.write([row._replace(item=str(order)) for row in order])
        assert (await shown(reader, str(order), "u:1")).reaction == "dislike", order
    # Also where the same reaction is held from later on.
    await importer.write([vote("b", "u:1", "like", at) for at in (10, 30)])
    await importer.write([vote("b", "u:1", "dislike", 20)])
    assert (await shown(reader, "b", "u:1")).reaction == "like"


async def test_the_same_times_again_change_nothing_that_was_done_here_since(
    importer: ImportWriter, reader: Reader, writer: Writer
) -> None:
    rows = [vote(item, "u:1", "like", 1_000_000) for item in "abcd"]
    await importer.write(rows)
    await set_reaction(writer, "u:1", "b", "dislike")
    await set_reaction(writer, "u:1", "c", None)
    before = await read(reader, list("abcd"), "u:1")
    await importer.write(rows)
    assert await read(reader, list("abcd"), "u:1") == before
    # A visitor that began to react here is not set back by what was before.
    await set_reaction(writer, "u:2", "a", "dislike")
    await importer.write([vote("a", "u:2", "like", 1_000_000)])
    assert (await shown(reader, "a", "u:2")).reaction == "dislike"


async def test_a_time_is_when_the_visitor_is_listed_with(importer: ImportWriter, client: Any) -> None:
    await importer.write([vote("a", "u:1", "like", 5_000_000), vote("b", "u:1", "like", 4_000_000)])
    index = NAMES.index_key(SITE.name, keys.member("u:1"))
    assert await client.zrange(index, 0, -1, withscores=True) == [(b"b", 4_000_000), (b"a", 5_000_000)]


@pytest.mark.parametrize("at", [None, 5_000_000])
async def test_what_is_refused_is_reported_for_its_row(
    importer: ImportWriter, link: Store, reader: Reader, at: int | None
) -> None:
    await freeze(link, SITE.name, "frozen", frozen=True)
    merger = Merger(link)
    answer: list[Refusal | None] = []
    merger.submit(Merge(SITE.name, keys.member(ANONYMOUS), keys.member("u:9"), answer.append))
    await merger.close()
    assert answer == [None]
    rows = [
        vote("a", "u:1", "like", at),
        vote("frozen", "u:1", "like", at),
        start("frozen", 5),
        vote("a", ANONYMOUS, "like", at),
        start("a", 5),
    ]
    found = await importer.write(rows)
    assert [type(one) for one in found] == [type(None), Forbidden, Forbidden, Unauthorized, type(None)]
    assert (await shown(reader, "a")).counts["like"] == 6
    assert (await shown(reader, "frozen")).counts["like"] == 0
