"""What an engine says of itself: real ones, and forged ones for what no test can install."""

import pytest
from tallycast.engine.factory import open_store
from tallycast.engine.preflight import facts as preflight
from tallycast.engine.preflight.requirements import Facts
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import EngineError

from tests.support.cluster import Cluster
from tests.support.forged import NO_PERMISSION, array, forged, info

OK = b":0\r\n"
HELLO = {
    **{"server": "redis", "version": "7.2.4", "proto": "2", "id": "4", "mode": "standalone"},
    **{"role": "replica"},
}


async def facts_of(url: str) -> Facts:
    link = StandaloneStore(url)
    try:
        return await preflight.facts(link)
    finally:
        await link.close()


async def refusal(url: str, patience: float = 3600.0) -> str:
    """Why a server does not start."""
    link = StandaloneStore(url)
    try:
        with pytest.raises(EngineError) as refused:
            await wait_until_ready(link, patience)
    finally:
        await link.close()
    return str(refused.value)


async def test_what_a_real_one_says(link: StandaloneStore) -> None:
    facts = await preflight.facts(link)
    assert (facts.product, facts.mode, facts.is_replica) == ("Valkey", "standalone", False)
    assert int(facts.version.split(".")[0]) >= 8
    assert facts.settings == {"maxmemory-policy": "noeviction", "appendonly": "no"}


async def test_a_replica_says_whose() -> None:
    said = info(redis_version="7.0.15", role="slave", master_host="10.0.0.5", master_port="6379")
    async with forged({"INFO": said}, other=OK) as url:
        # A failover may be under way.
        answer = await refusal(url, patience=0.1)
    assert answer.startswith("the engine refuses: it is a replica of 10.0.0.5:6379 and takes no writes: name")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is too old"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "Valkey 7.2.5 is too old"),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, "is a Sentinel"),
    ],
)
async def test_one_that_cannot_be_used_is_refused_with_the_reason(said: dict[str, str], answer: str) -> None:
    async with forged({"INFO": info(**said)}) as url:
        assert answer in await refusal(url)


async def test_what_info_says_is_not_asked_again() -> None:
    """As of a managed service, which forbids CONFIG."""
    said = info(redis_version="7.0.15", maxmemory_policy="allkeys-lru", aof_enabled="0")
    async with forged({"INFO": said}) as url:
        assert (await facts_of(url)).settings == {"maxmemory-policy": "allkeys-lru", "appendonly": "no"}


async def test_without_info_the_rest_is_asked_for_otherwise() -> None:
    said = {"HELLO": array(*(word for pair in HELLO.items() for word in pair))}
    async with forged(said) as url:
        assert await facts_of(url) == Facts("Redis", "7.2.4", "standalone", True, "", {})
    async with forged({**said, "INFO": NO_PERMISSION}, other=OK) as url:
        assert "it is a replica and takes no writes" in await refusal(url, patience=0.1)
    async with forged({**said, "CONFIG": array("appendfsync", "everysec")}) as url:
        assert (await facts_of(url)).settings == {"appendfsync": "everysec"}


async def test_one_that_says_nothing_is_no_reason_to_refuse_it() -> None:
    async with forged({}) as url:
        facts = await facts_of(url)
    assert (facts.version, facts.mode, facts.settings) == ("", "", {})


async def test_every_primary_of_a_cluster_is_asked(ring: Cluster) -> None:
    store = open_store(ring.url)
    await store.discover()
    found = [await preflight.facts(primary) for primary in store.primaries()]
    await store.close()
    assert [(facts.product, facts.mode, facts.is_replica) for facts in found] == [
        ("Valkey", "cluster", False)
    ] * len(ring.primaries)
