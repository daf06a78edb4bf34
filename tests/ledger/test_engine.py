"""The link to the engine: when it serves, and what is said when it does not."""

import time
from typing import Any

import pytest

from server.errors import EngineError, Unavailable
from server.ledger.engine import Engine, wait_until_ready
from tests.ledger.support import raw


async def test_the_secret_is_made_once_for_all(link: Engine, engine: str) -> None:
    secret = await wait_until_ready(link, 1.0)
    other = Engine(engine)
    assert await wait_until_ready(other, 1.0) == secret
    assert len(secret) == 32
    await other.close()


async def test_its_name_and_version(link: Engine) -> None:
    assert (await link.check()).startswith(("Valkey ", "Redis "))


async def test_one_that_does_not_answer_is_waited_for_and_then_named() -> None:
    link = Engine("unix:///nonexistent/engine.sock")
    began = time.monotonic()
    with pytest.raises(EngineError, match="does not answer"):
        await wait_until_ready(link, 0.3)
    assert time.monotonic() - began >= 0.3
    await link.close()


async def test_one_that_refuses_us_is_not_waited_for(engine: str, client: Any) -> None:
    await client.config_set("requirepass", "secret")
    link = Engine(f"{engine}?password=wrong")
    try:
        with pytest.raises(EngineError, match="refuses"):
            await wait_until_ready(link, 3600.0)
    finally:
        await link.close()
        open_again = raw(f"{engine}?password=secret")
        await open_again.config_set("requirepass", "")
        await open_again.aclose()


async def test_one_that_forbids_publishing_is_named(engine: str, client: Any) -> None:
    await client.acl_setuser(
        "mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True
    )
    link = Engine(f"{engine}?username=mute&password=x")
    try:
        with pytest.raises(EngineError, match="refuses"):
            await wait_until_ready(link, 3600.0)
    finally:
        await link.close()
        await client.acl_deluser("mute")


async def test_a_deadline_is_in_the_engines_time(link: Engine, client: Any) -> None:
    seconds, micros = await client.time()
    now = seconds * 1_000_000 + micros
    assert now < await link.deadline() < now + 10_000_000
    link.tick(5)
    assert 5 < await link.deadline() < 10_000_000


async def test_after_a_failure_the_clock_is_read_again(engine: str) -> None:
    link = Engine("unix:///nonexistent/engine.sock")
    link.tick(5)
    with pytest.raises(Unavailable):
        await link.command("PING")
    with pytest.raises(Unavailable):
        await link.deadline()
    await link.close()
