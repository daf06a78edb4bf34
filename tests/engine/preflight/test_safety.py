"""Whether the engine keeps what it has confirmed: settings of real ones, at the start and while they run."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallycast.engine.factory import open_store
from tallycast.engine.preflight import safety
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import EngineError, Store

from tests.support.cluster import Cluster
from tests.support.engine import private_engine
from tests.support.forged import forged, info
from tests.support.waiting import end, eventually

WARNING = "engine setting can lose acknowledged reactions"


@pytest.fixture
def engine() -> Iterator[str]:
    """One of the test's own, because its settings are changed."""
    with private_engine() as url:
        yield url


async def test_a_policy_that_evicts_ends_the_start(link: Store, client: Any) -> None:
    await safety.check(link)
    assert not link.health.evicting
    await client.config_set("maxmemory-policy", "volatile-lru")
    with pytest.raises(EngineError, match=r"maxmemory-policy is volatile-lru: .* set it to noeviction"):
        await safety.check(link)


async def test_a_policy_that_is_set_later_is_found_and_found_right_again(
    link: Store, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "SETTINGS_INTERVAL", 0.02)
    await client.config_set("appendonly", "yes")
    await client.config_set("appendfsync", "always")
    await safety.check(link)
    with capture_logs() as logs:
        running = asyncio.create_task(safety.run_settings_checks(link))
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await eventually(lambda: link.health.evicting)
        assert link.health.unsafe == ["maxmemory-policy"]
        await client.config_set("maxmemory-policy", "noeviction")
        await eventually(lambda: not link.health.evicting)
        await end(running)
    assert [(line["event"], line["log_level"], line["setting"]) for line in logs] == [
        (WARNING, "error", "maxmemory-policy"),
        ("engine setting corrected", "info", "maxmemory-policy"),
    ]


async def test_what_is_not_synced_is_logged_once_and_again_when_it_changes(
    link: Store, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "SETTINGS_INTERVAL", 0.02)
    levels = []
    with capture_logs() as logs:
        await safety.check(link)
        levels.append(link.health.unsafe)
        running = asyncio.create_task(safety.run_settings_checks(link))
        for sync, unsafe in (("no", ["appendfsync"]), ("everysec", []), ("always", [])):
            await client.config_set("appendfsync", sync)
            await client.config_set("appendonly", "yes")
            answer = len(logs)
            await eventually(lambda: len(logs) > answer and link.health.unsafe == unsafe)  # noqa: B023
        await end(running)
    assert levels == [["appendonly"]]
    assert [(line["log_level"], line["setting"]) for line in logs if line["event"] == WARNING] == [
        ("warning", "appendonly"),
        ("warning", "appendfsync"),
        ("info", "appendfsync"),
    ]


async def test_what_cannot_be_looked_at_is_named_in_one_warning() -> None:
    async with forged(
        {"INFO": info(redis_version="7.0.15", maxmemory_policy="noeviction", aof_enabled="1")}
    ) as url:
        link = StandaloneStore(url)
        with capture_logs() as logs:
            await safety.check(link)
        await link.close()
    assert [(line["log_level"], line["settings"]) for line in logs] == [("warning", ["appendfsync"])]
    async with forged({}) as url:
        link = StandaloneStore(url)
        with capture_logs() as logs:
            await safety.check(link)
        await link.close()
    assert [line["settings"] for line in logs] == [["appendfsync", "appendonly", "maxmemory-policy"]]


async def test_a_setting_that_may_not_be_looked_at_any_more_is_not_taken_for_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(safety, "SETTINGS_INTERVAL", 0.01)
    evicts = info(redis_version="7.0.15", maxmemory_policy="allkeys-lru", aof_enabled="0")
    replies = {"INFO": evicts}
    async with forged(replies) as url:
        link = StandaloneStore(url)
        running = asyncio.create_task(safety.run_settings_checks(link))
        await eventually(lambda: link.health.evicting)
        del replies["INFO"]
        asked = link.health.risks
        await eventually(lambda: link.health.risks is not asked)
        assert link.health.evicting
        await end(running)
        await link.close()


async def test_an_engine_that_is_away_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "SETTINGS_INTERVAL", 0.01)
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    with pytest.raises(EngineError, match="does not answer"):
        await safety.check(link)
    tried = 0

    async def execute_raw(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise ConnectionError("gone")

    monkeypatch.setattr(link, "execute_raw", execute_raw)
    running = asyncio.create_task(safety.run_settings_checks(link))
    await eventually(lambda: tried > 2)
    assert link.health.risks == set()
    await end(running)
    await link.close()


async def test_every_primary_of_a_cluster_is_looked_at_and_named(ring: Cluster) -> None:
    store = open_store(ring.url)
    node = ring.primaries[1]
    node.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        await store.discover()
        with pytest.raises(EngineError, match=f"127.0.0.1:{node.port}: maxmemory-policy is allkeys-lfu"):
            await safety.check(store)
    finally:
        node.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await safety.check(store)
    assert {risk.node for risk in store.health.risks} == {
        f"127.0.0.1:{primary.port}" for primary in ring.primaries
    }
    await store.close()
