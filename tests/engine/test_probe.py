"""Whether the engine takes writes: tried on real ones that take none, and write nothing to find out."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from tallycast.contract.errors import Unavailable
from tallycast.engine import probe
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger.writer import Writer

from tests.ledger.support import set_reaction, submitted
from tests.support.engine import private_engine
from tests.support.waiting import end, eventually


@pytest.fixture
def engine() -> Iterator[str]:
    """One of the test's own, because it is spoilt."""
    with private_engine() as url:
        yield url


WAYS = {
    "out of memory": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "a replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "without enough replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_an_engine_that_takes_no_writes_is_found_out_and_found_back(
    link: Store, writer: Writer, client: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "INTERVAL", 0.02)
    monkeypatch.setattr(probe, "RETRY_INTERVAL", 0.02)
    spoil, mend = WAYS[way]
    assert await probe.accepts_writes(link)
    running = asyncio.create_task(probe.run(link))
    await client.execute_command(*spoil)
    await eventually(lambda: not link.health.writable)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Unavailable)
    await client.execute_command(*mend)
    await eventually(lambda: link.health.writable)
    await set_reaction(writer, "a:2", "x", "like")
    await end(running)


async def test_trying_writes_nothing(link: Store, client: Any) -> None:
    before = await client.info("persistence")
    offset = (await client.info("replication"))["master_repl_offset"]
    for _ in range(10):
        assert await probe.accepts_writes(link)
    assert await client.keys("*") == []
    assert (await client.info("persistence"))["rdb_changes_since_last_save"] == before[
        "rdb_changes_since_last_save"
    ]
    assert (await client.info("replication"))["master_repl_offset"] == offset


async def test_a_reaction_that_was_refused_is_a_reason_to_try_and_one_that_was_taken_an_answer(
    link: Store, engine: str, writer: Writer
) -> None:
    with Redis.from_url(engine) as client:
        client.config_set("maxmemory", 1)
        await submitted(writer, "a:1", "x", "like")
        assert link.health.recheck_due
        link.health.record_write(await probe.accepts_writes(link))
        assert not link.health.writable
        client.config_set("maxmemory", 0)
        await set_reaction(writer, "a:1", "x", "like")
        assert link.health.writable


async def test_replicas_that_must_confirm_and_do_not_are_a_refusal_too(engine: str) -> None:
    strict = StandaloneStore(engine, replicas=1)
    assert not await probe.accepts_writes(strict)
    await strict.close()
