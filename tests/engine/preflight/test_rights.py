"""What an access list must allow: the list is complete, and trying it finds all that is missing."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError
from structlog.testing import capture_logs
from tallycast import ledger
from tallycast.contract.errors import Unavailable
from tallycast.engine.factory import open_store
from tallycast.engine.keys import Namespace
from tallycast.engine.preflight import rights, safety
from tallycast.engine.scripts import LUA, Script
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import EngineError

from tests.support.access import PASSWORD, USER, commands, documented
from tests.support.cluster import Cluster
from tests.support.engine import private_engine
from tests.support.forged import forged, info
from tests.support.waiting import end, eventually

# What the server can do without.
OPTIONAL = {"INFO", "HELLO", "CONFIG"}
# Not commands.
OPTIONS = {"COUNT", "LIMIT", "MATCH", "MAXLEN", "MINID", "WITHSCORES", "NOTHERE"}


@pytest.fixture(scope="module", params=["redis", "valkey"])
def engine_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with private_engine(request.param) as url:
        yield url


def allow(client: "Redis[Any]", *rules: str) -> None:
    client.execute_command("ACL", "SETUSER", USER, *rules)


def as_user(url: str) -> str:
    return url.replace("unix://", f"unix://{USER}:{quote(PASSWORD)}@")


@pytest.fixture
def admin(engine: str) -> Iterator[Any]:
    """An engine's own client; its user has exactly the rights of the document."""
    with Redis.from_url(engine) as client:
        allow(client, *documented(sharded=False))
        yield client


@pytest.fixture
async def limited(engine: str, admin: Any) -> AsyncIterator[StandaloneStore]:
    link = StandaloneStore(as_user(engine))
    yield link
    await link.close()


def needed(*, sharded: bool = False, replicas: int = 0) -> list[rights.Use]:
    return rights.needed_uses(Namespace(), sharded=sharded, replicas=replicas)


async def refused(link: StandaloneStore) -> list[rights.Use]:
    return await rights.refused(link.connection(), link.namespace, sharded=False, replicas=link.replicas)


def in_sources() -> set[str]:
    """Every command in the ledger's sources, but where the embedded engine is asked, and their options."""
    found = set()
    package = Path(ledger.__file__).parents[1]
    for file in (
        *package.rglob("engine/**/*"),
        *package.rglob("ledger/**/*"),
        package / "access" / "revocations.py",
    ):
        if file.parent.name in ("embedded", "bulk_import"):
            continue
        if file.suffix == ".lua":
            found |= set(re.findall(r"redis\.p?call\('([A-Z]+)'", file.read_text()))
        elif file.suffix == ".py" and file.stem != "rights":
            nodes = ast.walk(ast.parse(file.read_text()))
            found |= {
                node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    return {text for text in found if re.fullmatch("[A-Z]{3,}", text)}


def test_the_list_has_all_that_the_sources_use_and_no_more() -> None:
    listed = {use.command for use in (*needed(), *needed(sharded=True, replicas=1))}
    words = {word for command in listed for word in command.split()}
    # The name of a channel's command is put together.
    assert words - in_sources() <= {"SSUBSCRIBE", "SUNSUBSCRIBE"}
    assert in_sources() - words == OPTIONAL | OPTIONS


@pytest.mark.parametrize("sharded", [False, True])
def test_the_document_has_the_smallest_list(sharded: bool) -> None:
    rules = documented(sharded=sharded)
    assert commands(rules) == {use.command for use in needed(sharded=sharded)}
    assert [rule for rule in rules if rule[0] in "~&"] == ["~tc:*", "&tc:*@0"]
    assert not [rule for rule in rules if rule[1] == "@"]


async def test_with_the_documents_list_it_starts(limited: StandaloneStore, admin: Any) -> None:
    assert len(await wait_until_ready(limited, 5.0)) == 32
    assert {entry["object"] for entry in admin.acl_log()} <= {"info", "config|get"}


def named(text: str) -> set[str]:
    return set(re.findall("HSET|PUBLISH", text))


async def test_rights_that_are_taken_away_later_are_missed_until_they_are_given_back(
    limited: StandaloneStore, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RIGHTS_INTERVAL", "MISSING_INTERVAL", "DOUBT_INTERVAL"):
        monkeypatch.setattr(safety, name, 0.02)
    health = limited.health
    with capture_logs() as logs:
        running = asyncio.create_task(safety.run_rights_checks(limited))
        for rules, missing in (
            (["-hset", "-publish"], {"HSET", "PUBLISH"}),
            (["+hset"], {"PUBLISH"}),
            (["+publish"], set()),
        ):
            allow(admin, *rules)
            await eventually(lambda missing=missing: named(health.missing_rights) == missing)
        await end(running)
    assert [line["event"] for line in logs] == [
        "engine rights missing",
        "engine rights missing",
        "engine rights complete again",
    ]


async def test_a_refusal_is_a_reason_to_try_all_rights(limited: StandaloneStore, admin: Any) -> None:
    assert await limited.execute("TIME")
    allow(admin, "-time")
    nowhere = [limited.namespace.nowhere_key()]
    for refused_one in (limited.execute("TIME"), limited.run(Script(LUA, "writable.lua"), nowhere, 2**52)):
        limited.health.forbidden = False
        with pytest.raises(Unavailable):
            await refused_one
        assert limited.health.forbidden


async def test_trying_has_no_effect(limited: StandaloneStore, admin: Any) -> None:
    secret = await wait_until_ready(limited, 5.0)
    admin.xadd(limited.namespace.revoked, {"site": "x"})
    admin.zadd(limited.namespace.merges, {b"a merge": 7})
    before, keys = admin.info("persistence")["rdb_changes_since_last_save"], set(admin.keys("*"))
    assert await refused(limited) == []
    assert admin.info("persistence")["rdb_changes_since_last_save"] == before
    assert set(admin.keys("*")) == keys
    assert await wait_until_ready(limited, 5.0) == secret


async def test_each_right_that_is_missing_is_named_and_no_other(limited: StandaloneStore, admin: Any) -> None:
    for rule in documented(sharded=False):
        if rule.startswith("+"):
            allow(admin, f"-{rule[1:]}")
            assert {use.command for use in await refused(limited)} == commands([rule])
            allow(admin, rule)


@pytest.mark.parametrize(
    ("pattern", "missing"),
    [
        ("~tc:[^m]*", "ZADD, ZREM, ZRANGEBYSCORE, ZSCAN on keys tc:merges"),
        ("~tc:[^n]*", "EVALSHA on keys tc:nowhere*"),
        ("~tc:[^r]*", "XADD, XRANGE on keys tc:revoked"),
        ("&tc:{*", "PUBLISH, SUBSCRIBE on channels tc:me:*@0; PUBLISH, SUBSCRIBE on channels tc:pulse:*@0"),
        ("&tc:*@1", "PUBLISH, SUBSCRIBE on channels tc:{*@0; PUBLISH, SUBSCRIBE on channels tc:me:*@0"),
    ],
)
async def test_a_pattern_that_is_too_narrow_is_named(
    limited: StandaloneStore, admin: Any, pattern: str, missing: str
) -> None:
    allow(admin, "resetkeys" if pattern[0] == "~" else "resetchannels", pattern)
    with pytest.raises(EngineError, match=re.escape(missing)):
        await wait_until_ready(limited, 3600.0)


async def test_all_that_are_missing_are_named_in_one_line(engine: str, admin: Any) -> None:
    """Also those that it needs to connect, and those of settings."""
    allow(admin, "-hset", "-time", "-eval", "-xadd")
    link = StandaloneStore(as_user(engine) + "?db=3&client_name=me", replicas=1)
    with pytest.raises(EngineError) as answer:
        await wait_until_ready(link, 3600.0)
    await link.close()
    text = str(answer.value)
    assert text.startswith("the engine's user may not run WAIT, SELECT, CLIENT SETNAME, TIME, EVAL; ")
    for part in ("HSET on keys tc:{*", "XADD on keys tc:revoked", "XADD on keys tc:audit", "tc:me:*@3"):
        assert part in text
    allow(admin, "+hset", "+time", "+eval", "+xadd", "+wait", "+select", "+client|setname", "&tc:*@3")
    link = StandaloneStore(as_user(engine) + "?db=3&client_name=me", replicas=1)
    await wait_until_ready(link, 5.0)
    await link.close()


async def test_a_prefix_is_part_of_the_patterns(engine: str, admin: Any) -> None:
    allow(admin, "resetkeys", "resetchannels", "~staging:tc:*", "&staging:tc:*@0")
    link = StandaloneStore(as_user(engine), prefix="staging:")
    await wait_until_ready(link, 5.0)
    await link.close()
    link = StandaloneStore(as_user(engine), prefix="production:")
    with pytest.raises(EngineError, match="on keys production:tc:merges;"):
        await wait_until_ready(link, 3600.0)
    await link.close()


async def test_a_command_that_was_taken_away_is_missing_too() -> None:
    gone = b"-ERR unknown command 'EVAL', with args beginning with: 'return 0'\r\n"
    zero, names = b":0\r\n", {use.words[0]: b":0\r\n" for use in needed()}
    replies = {**{str(name): zero for name in names}, "INFO": info(redis_version="7.0.15"), "EVAL": gone}
    async with forged(replies) as url:
        link = StandaloneStore(url)
        with pytest.raises(EngineError, match="may not run EVAL: docs/configuration"):
            await wait_until_ready(link, 3600.0)
        await link.close()


async def test_one_that_is_loading_is_waited_for() -> None:
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    async with forged({str(use.words[0]): loading for use in needed()}) as url:
        link = StandaloneStore(url)
        with pytest.raises(BusyLoadingError):
            await refused(link)
        await link.close()


async def test_what_others_publish_meanwhile_is_no_reply() -> None:
    news = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
    replies = {str(use.words[0]): news + b":0\r\n" for use in needed()}
    del replies["UNSUBSCRIBE"]
    async with forged(replies) as url:
        link = StandaloneStore(url)
        assert [use.command for use in await refused(link)] == ["UNSUBSCRIBE"]
        await link.close()


async def test_of_a_cluster_every_primary_is_tried(ring: Cluster) -> None:
    rules, url = documented(sharded=True), ring.url.replace("//", f"//{USER}:{quote(PASSWORD)}@")
    for node in ring.nodes:
        node.do("ACL", "SETUSER", USER, *rules)
    store = open_store(url)
    await wait_until_ready(store, 10.0)
    ring.primaries[2].do("ACL", "SETUSER", USER, "-hdel", "-ssubscribe")
    answer = f"{ring.primaries[2].port}: the engine's user may not run HDEL on keys tc:{{*; SSUBSCRIBE on"
    with pytest.raises(EngineError, match=re.escape(answer)):
        await wait_until_ready(store, 3600.0)
    await store.close()
    # Without a map there is only the first one to ask.
    ring.primaries[0].do("ACL", "SETUSER", USER, "-cluster|slots", "-asking", "-xadd")
    store = open_store(url)
    with pytest.raises(EngineError, match=r"may not run CLUSTER SLOTS, ASKING; XADD on keys tc:revoked; "):
        await wait_until_ready(store, 3600.0)
    await store.close()
    for node in ring.nodes:
        node.do("ACL", "DELUSER", USER)
