"""A reply is lost, or a write is left behind in an engine that stands still: what is acked later stands.

At the ledger, because there a thousand of these can happen beside one another.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tallycast.contract.errors import Unavailable
from tallycast.engine.standalone import StandaloneStore
from tallycast.ledger.writer import Committed, StandaloneWriter, Writer

from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.ledger.support import membership, raw, submitted
from tests.support.proxy import between
from tests.support.waiting import eventually

WRITERS = 100
ITEMS = [f"lost/{i}" for i in range(7)]


@asynccontextmanager
async def writers(url: str, number: int) -> AsyncIterator[list[Writer]]:
    """Writers with a link of their own each, as so many processes have."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(number):
            link = StandaloneStore(url)
            stack.push_async_callback(link.close)
            writer = StandaloneWriter(link)
            stack.push_async_callback(writer.close)
            made.append(writer)
        yield made


async def confirmed(writer: Writer, visitor: str, item: str, reaction: str | None) -> Committed:
    """Repeated until it is acknowledged: on a busy machine even a connection may come too late."""
    got: list[Committed] = []

    async def is_acknowledged() -> bool:
        answer = await submitted(writer, visitor, item, reaction)
        assert isinstance(answer, Committed | Unavailable), answer
        got.extend([answer] if isinstance(answer, Committed) else [])
        return bool(got)

    await eventually(is_acknowledged)
    return got[0]


async def reply(url: str, item: str) -> Committed:
    """What the engine tells of an item; asked by a reaction that changes nothing."""
    async with AsyncExitStack() as stack:
        link = StandaloneStore(url)
        stack.push_async_callback(link.close)
        return await confirmed(StandaloneWriter(link), "a:unknown", item, None)


async def test_a_reply_is_lost_after_the_engine_has_done_what_was_asked(
    engine: str, measured: Measured
) -> None:
    turns = rounds(1, 10)
    async with between(engine) as proxy, raw(engine) as client, writers(proxy.url, WRITERS) as several:
        held: dict[tuple[int, str], str | None] = {}
        latest = dict.fromkeys(ITEMS, 0)

        async def act(number: int, writer: Writer) -> None:
            """React, lose the reply, and reaction the same again until it is confirmed."""
            for turn in range(turns):
                item, wanted = (
                    ITEMS[(number + turn) % len(ITEMS)],
                    ("like", "dislike", None)[(number + turn) % 3],
                )
                assert isinstance(await submitted(writer, f"a:{number}", item, wanted), Unavailable)
                answer = await confirmed(writer, f"a:{number}", item, wanted)
                held[number, item] = wanted
                latest[item] = max(latest[item], answer.version)

        # Every other batch of a link is lost: the first of each reaction, not its repetition.
        lost: set[bytes] = set()

        def loses(asked: bytes) -> bool:
            if b"EVALSHA" not in asked and b"EVAL" not in asked:
                return False
            # A batch differs from its repetition by its deadline alone; two arguments follow that.
            batch = b"".join(asked.rsplit(b"\r\n$", 2)[1:])
            if batch in lost:
                lost.discard(batch)
                return False
            lost.add(batch)
            return True

        # The script is there, and so each reaction is one command.
        async with writers(engine, 1) as (first,):
            await confirmed(first, "a:first", ITEMS[0], None)
        proxy.loses = loses
        await asyncio.gather(*(act(number, writer) for number, writer in enumerate(several)))
        assert proxy.lost >= WRITERS * turns
        for item in ITEMS:
            reactions = [wanted for (_, name), wanted in held.items() if name == item]
            expected = {kind: reactions.count(kind) for kind in ("like", "dislike")}
            assert await membership(client, item) == expected
            assert (await reply(engine, item)) == Committed(latest[item], expected), "versions never fall"
    measured(f"{WRITERS * turns} replies lost; no error in any count")


async def test_an_abandoned_write_does_not_overtake_a_later_one(engine: str, measured: Measured) -> None:
    each = 50
    turns = rounds(1, 4)
    stands = 0
    async with raw(engine) as client:
        pid = (await client.info("server"))["process_id"]
        for turn in range(turns):
            async with writers(engine, each) as abandoned, writers(engine, each) as later:
                # All have a link, and know the engine's time.
                for group in (abandoned, later):
                    await asyncio.gather(
                        *(confirmed(w, f"a:{turn}:{i}", "idle", None) for i, w in enumerate(group))
                    )
                os.kill(pid, signal.SIGSTOP)
                try:
                    likes = [submitted(w, f"a:{turn}:{i}", "left", "like") for i, w in enumerate(abandoned)]
                    refused = await asyncio.gather(*likes)
                    assert all(isinstance(answer, Unavailable) for answer in refused)
                    # The later reaction is on its way when the engine wakes up: it takes them in any order.
                    dislikes = [
                        asyncio.ensure_future(confirmed(w, f"a:{turn}:{i}", "left", "dislike"))
                        for i, w in enumerate(later)
                    ]
                    await asyncio.sleep(0)
                finally:
                    os.kill(pid, signal.SIGCONT)
                await asyncio.gather(*dislikes)
                stands += each
            held = await membership(client, "left")
            assert held == {"like": 0, "dislike": stands}, held
    measured(f"the later reaction stands, {stands} times of {each * turns}")


async def test_an_abandoned_write_that_arrives_late_has_no_effect(engine: str, measured: Measured) -> None:
    """The network holds it back until the later reaction of the same visitor was acknowledged."""
    each = rounds(50, 200)
    async with (
        between(engine) as proxy,
        raw(engine) as client,
        writers(proxy.url, each) as abandoned,
        writers(engine, each) as later,
    ):

        async def calls() -> int:
            return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

        for group in (abandoned, later):
            await asyncio.gather(*(confirmed(w, f"a:{i}", "idle", None) for i, w in enumerate(group)))
        proxy.hold()
        likes = [submitted(w, f"a:{i}", "late", "like") for i, w in enumerate(abandoned)]
        assert all(isinstance(answer, Unavailable) for answer in await asyncio.gather(*likes))
        await asyncio.gather(*(confirmed(w, f"a:{i}", "late", "dislike") for i, w in enumerate(later)))
        before = await calls()
        proxy.release()

        async def arrived() -> bool:
            return await calls() >= before + each

        await eventually(arrived)
        assert await membership(client, "late") == {"like": 0, "dislike": each}
    measured(f"{each} writes arrived after a later one was acknowledged; it stands, {each} times of {each}")
