"""Counts against membership on a real engine: what differs is found and repaired, nothing else is touched."""

import asyncio
import time
from typing import Any

import msgpack
import pytest
from structlog.testing import capture_logs
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.engine import keys
from tallycast.engine.store import Store
from tallycast.ledger import audit, auditor, layout, writer
from tallycast.ledger.audit import Finding, Outcome, check, delete_orphan_buckets, pages
from tallycast.ledger.auditor import Auditor
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.moderation import remove, reset, start
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Writer

from tests.ledger.support import SITE, cramped, membership, read, sequence, set_reaction
from tests.support.names import NAMES
from tests.support.waiting import eventually

X = NAMES.item_key(SITE.name, "x")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REACT", cramped(writer.REACT, 2))
    monkeypatch.setattr(audit, "STEP", 3)
    monkeypatch.setattr(audit, "PAGE", 10)


async def falsify(client: Any, key: bytes, like: int, dislike: int) -> None:
    """What a defect might do."""
    state = layout.unpack(await client.hget(key, ""))
    head = (state.version, 0, state.generation, state.buckets, 0)
    await client.hset(key, "", sequence(*head, "like", like, "dislike", dislike))


async def filled(writer: Writer, item: str = "x", members: int = 30) -> None:
    """An item with so many likes, and five dislikes."""
    for number in range(members):
        await set_reaction(writer, f"a:{number}", item, "like")
    for number in range(5):
        await set_reaction(writer, f"u:{number}", item, "dislike")


async def test_counts_that_are_right_stay(link: Store, writer: Writer, reader: Reader) -> None:
    await filled(writer)
    [before] = await read(reader, ["x"])
    counts = {"like": 30, "dislike": 5}
    assert await check(link, SITE.name, "x") == Finding(SITE.name, "x", Outcome.RIGHT, counts, counts)
    assert await read(reader, ["x"]) == [before]


@pytest.mark.parametrize("large", [1, 500], ids=["in pages", "in steps"])
async def test_a_difference_is_repaired_and_published(
    link: Store,
    writer: Writer,
    reader: Reader,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    large: int,
) -> None:
    monkeypatch.setattr(audit, "LARGE", large)
    await filled(writer)
    [before] = await read(reader, ["x"])
    await falsify(client, X, 31, 4)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(NAMES.item_channel(SITE.name, "x"))
        await pubsub.get_message(timeout=5)
        found = await check(link, SITE.name, "x")
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
    right = {"like": 30, "dislike": 5}
    assert found == Finding(SITE.name, "x", Outcome.REPAIRED, {"like": 31, "dislike": 4}, right)
    [after] = await read(reader, ["x"])
    assert after.version > before.version
    assert after.counts == right == await membership(client, "x")
    assert msgpack.unpackb(message["data"]) == [after.version, right]
    assert (await check(link, SITE.name, "x")).outcome is Outcome.RIGHT


async def test_an_untouched_item_is_absent(link: Store, client: Any) -> None:
    assert (await check(link, SITE.name, "x")).outcome is Outcome.ABSENT
    assert await client.keys("*") == []


async def test_all_items_are_found_and_nothing_else(link: Store, writer: Writer, client: Any) -> None:
    items = {f"i{number}" for number in range(40)} | {"a}0.1", "b:c", "{d", "é", "0.1", "}"}
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await filled(writer, "i0", 10)
    await client.set("tc:{nonsense", "")
    await client.hset(b"tc:{\xff:x}", "", "")
    other = NAMES.item_key("other", "x")
    await client.hset(other, "", "")
    found = [page async for page in pages(link, SITE.name)]
    assert {item for page in found for _, item in page.items} == items
    buckets = {name for page in found for name in page.buckets}
    assert {name.item for name in buckets} == {"i0"}
    assert len(buckets) > 3
    state = layout.unpack(await client.hget(NAMES.item_key(SITE.name, "i0"), ""))
    assert all(name.generation == 0 and 1 <= name.bucket < state.buckets for name in buckets)
    everywhere = {place for page in [page async for page in pages(link)] for place in page.items}
    assert everywhere == {(SITE.name, item) for item in items} | {("other", "x")}


async def test_what_a_reset_left_behind_is_swept(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("the engine is away")

    await filled(writer)
    await filled(writer, "y")
    with monkeypatch.context() as broken:
        broken.setattr(link, "execute", away)
        await reset(link, SITE.name, "x")
    await filled(writer)
    left = len(await client.keys(X + b"0.*"))
    assert left > 10
    buckets = [name async for page in pages(link) for name in page.buckets]
    assert await delete_orphan_buckets(link, buckets) == left
    assert await client.keys(X + b"0.*") == []
    for item in ("x", "y"):
        assert await membership(client, item) == {"like": 30, "dislike": 5}


async def test_one_auditor_at_a_time_goes_through_everything(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "LEASE_INTERVAL", 0.01)
    monkeypatch.setattr(auditor, "DUTY_CYCLE", 0.5)
    for item in range(20):
        await set_reaction(writer, "a:1", f"i{item}", "like")
    await falsify(client, NAMES.item_key(SITE.name, "i7"), 3, 0)
    both = [Auditor(link), Auditor(link)]
    running = [asyncio.create_task(one.run()) for one in both]

    async def at_rest() -> bool:
        return await client.get(NAMES.auditor) == b""

    async with asyncio.timeout(30):
        while not await at_rest():  # noqa: ASYNC110  it is the engine that tells
            await asyncio.sleep(0.01)
    assert sorted(one.checked for one in both) == [0, 20]
    assert sum(one.repairs for one in both) == 1
    assert auditor.LEASE < await client.ttl(NAMES.auditor) <= auditor.FULL_AUDIT_INTERVAL
    assert await membership(client, "i7") == {"like": 1, "dislike": 0}
    # The next round, when the rest is over.
    await client.delete(NAMES.auditor)
    await eventually(lambda: sum(one.checked for one in both) == 40)
    for task in running:
        task.cancel()


async def test_an_auditor_that_was_replaced_stops(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "LEASE", 0)
    for item in range(5):
        await set_reaction(writer, "a:1", f"i{item}", "like")
    await client.set(NAMES.auditor, "another")
    one = Auditor(link)
    with pytest.raises(auditor._LeaseLostError):
        await one._audit_pages()
    assert one.checked == 0
    assert await client.get(NAMES.auditor) == b"another"


async def test_starting_counts_are_no_members(link: Store, writer: Writer, reader: Reader) -> None:
    await start(link, SITE, {"x": {"like": 1000, "dislike": 1}, "only begun": {"like": 5, "dislike": 0}})
    await filled(writer)
    [before] = await read(reader, ["x"])
    assert before.counts == {"like": 1030, "dislike": 6}
    for item in ("x", "only begun"):
        assert (await check(link, SITE.name, item)).outcome is Outcome.RIGHT
    assert await read(reader, ["x"]) == [before]


async def test_a_repair_leaves_starting_counts_as_they_are(
    link: Store, writer: Writer, reader: Reader, client: Any
) -> None:
    await filled(writer)
    await falsify(client, X, 31, 4)
    await start(link, SITE, {"x": {"like": 0, "dislike": 100}})
    assert (await check(link, SITE.name, "x")).outcome is Outcome.REPAIRED
    assert (await read(reader, ["x"]))[0].counts == {"like": 30, "dislike": 105}


async def test_buckets_of_an_item_that_has_begun_anew_are_not_swept(
    link: Store, writer: Writer, client: Any
) -> None:
    """The sweep has seen them before the item was removed, and they have the names of the new ones."""
    await filled(writer)
    buckets = [name async for page in pages(link) for name in page.buckets]
    assert len(buckets) > 10
    await reset(link, SITE.name, "x")
    await remove(link, SITE.name, "x")
    await filled(writer)
    assert await delete_orphan_buckets(link, buckets) == 0
    assert await membership(client, "x") == {"like": 30, "dislike": 5}


async def test_it_works_for_a_hundredth_of_the_time(link: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    one = Auditor(link)
    one._renewed = time.monotonic()
    monkeypatch.setattr(asyncio, "sleep", rest)
    for worked, rested in ((0.001, 0.099), (0.1, 9.9), (100.0, auditor.MAX_PAUSE)):
        one._began = time.monotonic() - worked
        await one._throttle()
        # What passed between the two looks at the clock is work, too.
        assert 0.999 * rested <= rests.pop() <= auditor.MAX_PAUSE


async def test_a_repair_is_logged_with_both_numbers(link: Store, writer: Writer, client: Any) -> None:
    await filled(writer)
    await falsify(client, X, 31, 4)
    one = Auditor(link)
    with capture_logs() as answer:
        one._record(await check(link, SITE.name, "x"))
        one._record(await check(link, SITE.name, "x"))
    assert [(line["event"], line["stored"], line["counted"], line["item"]) for line in answer] == [
        ("stored counts repaired", {"like": 31, "dislike": 4}, {"like": 30, "dislike": 5}, "x")
    ]
    assert (one.checked, one.repairs) == (2, 1)


async def test_an_item_that_cannot_be_audited_keeps_no_other_from_it(
    link: Store, writer: Writer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "DUTY_CYCLE", 0.5)
    for item in range(5):
        await set_reaction(writer, "a:1", f"i{item}", "like")
    await client.hset(NAMES.item_key(SITE.name, "nonsense"), "", b"\x91")
    await client.set(NAMES.item_key(SITE.name, "no hash"), "")
    one = Auditor(link)
    await one._audit_pages()
    assert (one.checked, one.failed) == (5, 2)
    assert await client.get(NAMES.auditor) == b""


@pytest.mark.parametrize(("base", "left"), [(0, 0), (100, 100)])
async def test_a_reaction_that_was_not_counted_makes_its_item_suspect(
    link: Store, writer: Writer, reader: Reader, client: Any, base: int, left: int
) -> None:
    for visitor in ("a:1", "a:2", "a:3"):
        await set_reaction(writer, visitor, "x", "like")
    await falsify(client, X, 0, 0)
    await start(link, SITE, {"x": {"like": base, "dislike": 0}})
    assert (await set_reaction(writer, "a:1", "x", None)).counts["like"] == left, (
        "it cannot be less than none"
    )
    assert (link.health.drifts, link.health.suspects) == (1, {X})
    # It does not wait for the round, nor for the worker that has the lease.
    await client.set(NAMES.auditor, "another")
    one = Auditor(link)
    running = asyncio.create_task(one.run())
    await eventually(lambda: one.repairs == 1)
    running.cancel()
    assert (await read(reader, ["x"]))[0].counts == {"like": base + 2, "dislike": 0}
    assert link.health.suspects == set()


async def test_a_merge_tells_what_was_not_counted_too(link: Store, writer: Writer, client: Any) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    await set_reaction(writer, "u:1", "x", "dislike")
    await falsify(client, X, 0, 1)
    merger = Merger(link)
    refused: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    merger.submit(Merge(SITE.name, keys.member("a:1"), keys.member("u:1"), refused.set_result))
    assert await refused is None
    assert (link.health.drifts, link.health.suspects) == (1, {X})
    await merger.close()
