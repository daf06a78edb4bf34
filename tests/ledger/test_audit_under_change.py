"""Audits of items that change meanwhile, or whose buckets hold what a split left behind: still exact."""

import asyncio
import random
from collections.abc import AsyncIterator
from hashlib import sha1
from typing import Any

import pytest
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.engine import keys, scripts
from tallycast.engine.scripts import Script
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger import audit, layout, writer
from tallycast.ledger.audit import Outcome, check
from tallycast.ledger.layout import LUA
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.moderation import freeze, reset, start
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Committed, StandaloneWriter, Writer

from tests.ledger.support import SITE, bucket_keys, cramped, read, set_reaction, submitted
from tests.support.names import NAMES

X = NAMES.item_key(SITE.name, "x")
LAYOUT = "\n".join(file.read_text() for file in (scripts.LUA / "standalone.lua", LUA / "layout.lua"))
# What grow does with a bucket, in its order.
WRITES = ("'UNLINK', target", "'HSET', target", "'HSET', key, '', (encode_state(before))", "'HDEL', source")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REACT", cramped(writer.REACT, 2))
    monkeypatch.setattr(audit, "STEP", 3)


@pytest.fixture
async def other(engine: str) -> AsyncIterator[Writer]:
    """A visitor that reacts while others are at something else."""
    link = StandaloneStore(engine)
    writer = StandaloneWriter(link)
    yield writer
    await writer.close()
    await link.close()


async def held(client: Any) -> dict[bytes, int]:
    """What each visitor holds on the item: in the bucket where each would be looked for, and nowhere else."""
    state = layout.unpack(await client.hget(X, ""))
    found: dict[bytes, int] = {}
    for bucket, name in enumerate(bucket_keys(state, SITE.name, "x")):
        for visitor, number in (await client.hgetall(name)).items():
            if visitor and layout.bucket_of(visitor, state.buckets) == bucket:
                found[visitor] = int(number)
    return found


async def in_two(client: Any) -> int:
    """How many members are in a wrong bucket beside the right one."""
    state = layout.unpack(await client.hget(X, ""))
    sizes = [await client.hlen(name) for name in bucket_keys(state, SITE.name, "x")]
    return sum(sizes) - 1 - len(await held(client))


async def counted(client: Any) -> dict[str, int]:
    state = layout.unpack(await client.hget(X, ""))
    numbers = list((await held(client)).values())
    return {kind: numbers.count(number) for number, kind in enumerate(state.counts, 1)}


def stopping(before: str) -> Script:
    """The script of reactions, which stops in the middle of a split, before what it would write next."""
    script = cramped(Script(LUA, "react.lua", "layout.lua"), 2)
    begin = "redis.call(" + before
    assert script.text.count(begin) == 1
    return with_text(script, script.text.replace(begin, "error({err = 'STOPPED'}) " + begin))


def with_text(script: Script, text: str) -> Script:
    script.text = text
    script.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return script


async def drift(client: Any, by: int) -> None:
    """What a defect might do, in one step."""
    code = f"""
    local state = decode_state(redis.call('HGET', KEYS[1], ''))
    state[HEAD + 2] = state[HEAD + 2] + {by}
    redis.call('HSET', KEYS[1], '', (encode_state(state)))
    """
    await client.eval(f"#!lua\n{LAYOUT}{code}", 1, X)


async def test_buckets_are_the_same_here_and_in_the_scripts(client: Any) -> None:
    members = [keys.member(f"a:{number}") for number in range(50)]
    code = "return bucket_of(ARGV[1], tonumber(ARGV[2]))"
    sha = await client.script_load(f"#!lua\n{LAYOUT}{code}")
    for buckets in (1, 2, 3, 4, 5, 7, 8, 9, 1000, 25_000):
        for member in members:
            assert layout.bucket_of(member, buckets) == await client.evalsha(sha, 0, member, buckets)


@pytest.mark.parametrize("large", [1, 500], ids=["in pages", "in steps"])
@pytest.mark.parametrize("before", WRITES)
async def test_a_split_that_stopped_half_way_miscounts_nothing_ever(
    link: Store,
    writer: Writer,
    reader: Reader,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    large: int,
) -> None:
    monkeypatch.setattr(audit, "LARGE", large)
    dice = random.Random(WRITES.index(before))
    holds: dict[str, str] = {}
    stopped = stale = 0
    for number in range(120):
        # A new visitor, and one that changes, or goes.
        for visitor in (f"a:{number}", f"a:{dice.randrange(number + 1)}"):
            kind = dice.choice(("like", "like", "dislike", None)) if visitor in holds else "like"
            if number % 5 == 0:
                with monkeypatch.context() as broken:
                    broken.setattr("tallycast.ledger.writer.REACT", stopping(before))
                    if isinstance(await submitted(writer, visitor, "x", kind), Unavailable):
                        stopped += 1
            await set_reaction(writer, visitor, "x", kind)
            holds = (
                {**holds, visitor: kind} if kind else {name: holds[name] for name in holds if name != visitor}
            )
        stale = max(stale, await in_two(client))
        if number % 10 == 0:
            right = {kind: list(holds.values()).count(kind) for kind in SITE.kinds}
            assert (await read(reader, ["x"]))[0].counts == right
            finding = await check(link, SITE.name, "x")
            assert (finding.outcome, {kind: finding.counted.get(kind, 0) for kind in SITE.kinds}) == (
                Outcome.RIGHT,
                right,
            )
            # The repair counts in its own way.
            await drift(client, 5)
            finding = await check(link, SITE.name, "x")
            assert finding.outcome is Outcome.REPAIRED
            assert (await read(reader, ["x"]))[0].counts == right
    assert stopped > 3
    assert (stale > 0) == (before == WRITES[-1]), "only what is not removed in the end is in two"
    for visitor, kind in holds.items():
        assert (await read(reader, ["x"], visitor))[0].reaction == kind
    # All take back what they hold: none is left, wherever copies of them are.
    for visitor in {f"a:{number}" for number in range(120)}:
        await set_reaction(writer, visitor, "x", None)
    assert (await read(reader, ["x"]))[0].counts == {"like": 0, "dislike": 0}
    assert await held(client) == {}
    assert (await check(link, SITE.name, "x")).outcome is Outcome.RIGHT


async def test_an_item_is_audited_exactly_while_it_changes_all_the_time(
    link: Store, writer: Writer, other: Writer, reader: Reader, client: Any
) -> None:
    """Steps and splits, with a difference now and then: it is found, to the number, and mended once."""
    dice = random.Random(5)
    for number in range(40):
        await set_reaction(writer, f"a:{number}", "x", "like")
    over = False

    async def react() -> None:
        number = 40
        while not over:
            number += 1
            reactions = [
                (f"a:{number}", "like"),
                (f"a:{dice.randrange(number)}", dice.choice(("dislike", None, "like"))),
            ]
            await asyncio.gather(*(set_reaction(other, visitor, "x", kind) for visitor, kind in reactions))

    reacting = asyncio.create_task(react())
    changed = 0
    for round_ in range(40):
        by = (0, 3, 0, 1)[round_ % 4]
        before = (await read(reader, ["x"]))[0].version
        if by:
            await drift(client, by)
        finding = await check(link, SITE.name, "x")
        changed += (await read(reader, ["x"]))[0].version > before
        differences = {kind: finding.stored[kind] - finding.counted[kind] for kind in finding.stored}
        assert differences == {kind: by if kind == "like" else 0 for kind in finding.stored}
        assert finding.outcome is (Outcome.REPAIRED if by else Outcome.RIGHT)
    over = True
    await reacting
    assert changed == 40, "it did change all the time"
    [state] = await read(reader, ["x"])
    assert state.counts == await counted(client)
    assert layout.unpack(await client.hget(X, "")).buckets > 3 * audit.STEP, "each audit took several steps"


async def test_whatever_happens_between_two_steps_is_counted_along(
    link: Store, writer: Writer, client: Any
) -> None:
    """Reactions, splits, merges, a new kind, imports, freezing, resets; and two audits at a time."""
    dice = random.Random(7)
    merger = Merger(link)

    async def merge(visitor: str, account: str) -> None:
        done: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        merger.submit(Merge(SITE.name, keys.member(visitor), keys.member(account), done.set_result))
        assert await done is None

    def some_visitor() -> str:
        return f"{'au'[dice.randrange(2)]}:{dice.randrange(400)}"

    merged: set[str] = set()
    finished = resets = 0
    anew = 1
    for turn in range(1500):
        what = dice.random()
        visitor = some_visitor()
        if what < 0.8 or turn < 100:
            kind = dice.choice(("like", "like", None, "dislike" if turn > 300 else "like"))
            if visitor not in merged:
                assert isinstance(await submitted(writer, visitor, "x", kind), Committed)
        elif what < 0.85 and visitor.startswith("a:") and visitor not in merged:
            merged.add(visitor)
            await merge(visitor, f"u:{dice.randrange(400)}")
        elif what < 0.9:
            await start(link, SITE, {"x": {"like": dice.randrange(3) * 100, "dislike": dice.randrange(50)}})
        elif what < 0.92:
            await freeze(link, SITE.name, "x", frozen=True)
            await freeze(link, SITE.name, "x", frozen=False)
        elif what < 0.925:
            resets += 1
            await reset(link, SITE.name, "x")
        if dice.random() < 0.5:
            found = await link.commit(audit._REPAIR, [X], audit.STEP, anew, NAMES.channel_suffix)
            # Now and then another begins while this one is at it.
            anew = int(bool(found) or dice.random() < 0.02)
            if found:
                finished += 1
                kinds, stored, counts = found
                assert stored == counts
                assert dict(zip(kinds, counts, strict=True)) == await counted(client)
    assert finished > 20
    assert resets > 1
    assert (await check(link, SITE.name, "x")).outcome is Outcome.RIGHT
    await merger.close()


async def test_an_audit_leaves_nothing_behind(link: Store, writer: Writer, client: Any) -> None:
    for number in range(40):
        await set_reaction(writer, f"a:{number}", "x", "like")
    before = await client.hget(X, "")
    assert await link.commit(audit._REPAIR, [X], audit.STEP, 1, NAMES.channel_suffix) == 0
    half = await client.hget(X, "")
    assert half != before
    assert layout.unpack(half) == layout.unpack(before), "for all others nothing has changed"
    while not await link.commit(audit._REPAIR, [X], audit.STEP, 0, NAMES.channel_suffix):
        pass
    assert await client.hget(X, "") == before
