"""The link to the engine: when it serves, and what is said when it does not."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.engine import standalone as engine_module
from tallycast.engine.clock import DEADLINE
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.startup import identify, wait_until_ready
from tallycast.engine.store import EngineError

from tests.ledger.support import raw
from tests.support.names import NAMES
from tests.support.waiting import eventually


async def test_the_secret_is_made_once_for_all(link: StandaloneStore, engine: str) -> None:
    secret = await wait_until_ready(link, 1.0)
    other = StandaloneStore(engine)
    assert await wait_until_ready(other, 1.0) == secret
    assert len(secret) == 32
    await other.close()


async def test_its_name_and_version(link: StandaloneStore) -> None:
    assert (await identify(link)).startswith(("Valkey ", "Redis "))


async def test_one_that_does_not_answer_is_waited_for_and_then_named() -> None:
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    began = time.monotonic()
    with pytest.raises(EngineError, match="does not answer"):
        await wait_until_ready(link, 0.3)
    assert time.monotonic() - began >= 0.3
    await link.close()


async def test_one_that_refuses_us_is_not_waited_for(engine: str, client: Any) -> None:
    await client.config_set("requirepass", "secret")
    link = StandaloneStore(f"{engine}?password=wrong")
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
    link = StandaloneStore(f"{engine}?username=mute&password=x")
    try:
        with pytest.raises(EngineError, match="may not run PUBLISH, SUBSCRIBE on channels"):
            await wait_until_ready(link, 3600.0)
    finally:
        await link.close()
        await client.acl_deluser("mute")


async def deadline(link: StandaloneStore) -> int:
    """The deadline of what would be committed now."""
    return (await link.clock_of(link._link)).deadline(time.monotonic() + DEADLINE)


async def test_a_deadline_is_in_the_engines_time(link: StandaloneStore, client: Any) -> None:
    seconds, micros = await client.time()
    now = seconds * 1_000_000 + micros
    assert now < await deadline(link) < now + 10_000_000
    link._link.clock.update(5)
    assert 5 < await deadline(link) < 10_000_000


async def test_after_a_failure_the_clock_is_read_again(engine: str) -> None:
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    link._link.clock.update(5)
    with pytest.raises(Unavailable):
        await link.execute("PING")
    with pytest.raises(Unavailable):
        await deadline(link)
    await link.close()


async def test_the_clock_is_read_now_and_then(link: StandaloneStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was learnt long ago, and one that was set since."""
    monkeypatch.setattr(engine_module, "MAINTENANCE_INTERVAL", 0.01)

    async def right() -> bool:
        return await deadline(link) > 1_700_000_000_000_000

    task = asyncio.create_task(link.maintain())
    for _ in range(2):
        link._link.clock.update(5)
        assert not await right()
        await eventually(right)
    task.cancel()


async def test_the_clock_is_read_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAINTENANCE_INTERVAL", 0.01)
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    asked = 0

    async def execute(*words: object) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        raise Unavailable("gone")

    monkeypatch.setattr(link, "_execute", execute)
    task = asyncio.create_task(link.maintain())
    await eventually(lambda: asked >= 3)
    task.cancel()
    await link.close()


@asynccontextmanager
async def forgetful(engine: str) -> AsyncIterator[str]:
    """An engine whose replies to what changes something get lost, and the link with them."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(engine.removeprefix("unix://"))
        while asked := await reader.read(65536):
            ours.write(asked)
            reply = await theirs.read(65536)
            if b"INCR" in asked or b"EVAL" in asked:
                break
            writer.write(reply)
        writer.close()
        ours.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_may_have_taken_effect_is_not_done_again(engine: str, client: Any) -> None:
    """redis-py would repeat it, and count twice."""
    count: Any = SimpleNamespace(text="return redis.call('INCR', KEYS[1])")
    count.sha = await client.script_load(count.text)
    async with forgetful(engine) as url:
        link = StandaloneStore(url)
        with pytest.raises(OutcomeUnknown):
            await link.execute("INCR", "once")
        with pytest.raises(OutcomeUnknown):
            await link.run(count, [b"run once"])
        await link.close()
    assert [await client.get(key) for key in ("once", "run once")] == [b"1", b"1"]


async def test_a_reply_is_waited_for_longer_than_it_may_take_effect(link: StandaloneStore) -> None:
    assert link._link.pool.connection_kwargs["socket_timeout"] > DEADLINE


async def test_data_of_another_layout_is_refused(link: StandaloneStore, client: Any) -> None:
    await wait_until_ready(link, 1.0)
    for layout, answer in ((b"1000", "layout 1000"), (None, "layout 1 ")):
        await client.delete(NAMES.layout)
        if layout is not None:
            await client.set(NAMES.layout, layout)
        with pytest.raises(EngineError, match=f"another version of Tallycast, in {answer}"):
            await wait_until_ready(link, 1.0)
        assert await client.get(NAMES.layout) == layout
