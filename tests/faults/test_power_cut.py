"""The power fails in the middle of writes: what was acknowledged had been synced."""

import asyncio
import os
import signal
from pathlib import Path

from redis import Redis
from tallycast.engine.embedded.server import running_engine

from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience
from tests.support.power import Trace
from tests.support.process import ServerProcess
from tests.support.processes import wait_until_gone

BETWEEN = 300


async def cut_the_power(server: ServerProcess, crowd: Crowd, log: Path) -> int:
    """In the middle of many reactions; how many bytes had been written and were not safe."""
    engine = server.engine
    assert engine is not None
    (file,) = server.data.glob("appendonlydir/*.incr.aof")
    trace = Trace(engine, file, log)
    tasks = crowd.start(server.ws_url, 0.005)
    await crowd.more(BETWEEN)
    # Neither an orderly end of the engine, which would sync, nor a new one.
    os.kill(server.pid, signal.SIGSTOP)
    os.kill(engine, signal.SIGKILL)
    await asyncio.to_thread(wait_until_gone, [engine])
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.to_thread(server.wait)
    await asyncio.gather(*tasks)
    await asyncio.to_thread(server.family_is_gone)
    return await asyncio.to_thread(trace.cut)


async def test_nothing_acknowledged_is_lost(
    make_server: MakeServer, tmp_path: Path, measured: Measured
) -> None:
    server = make_server()
    crowd = Crowd(visitors=12, items=6, seed=7)
    await crowd.arrive(server.url)
    unsafe = 0
    async with audience(server.url, crowd.items) as watchers:
        for turn in range(rounds(1, 10)):
            unsafe += await cut_the_power(server, crowd, tmp_path / f"trace-{turn}")
            await asyncio.to_thread(server.start)
            await crowd.check(server.url, running_engine(server.data))
            await watchers.exact()
    measured(f"{rounds(1, 10)} power cuts, {crowd.acks} acked, 0 lost; {unsafe} bytes were not synced")


async def test_the_control_with_a_laxer_policy_sees_losses(
    make_server: MakeServer, tmp_path: Path, measured: Measured
) -> None:
    """The same with ``appendfsync everysec``: else the test above would prove nothing."""
    server = make_server()
    crowd = Crowd(visitors=12, items=6, seed=7)
    await crowd.arrive(server.url)
    for turn in range(5):
        with Redis.from_url(running_engine(server.data)) as client:
            client.config_set("appendfsync", "everysec")
        unsafe = await cut_the_power(server, crowd, tmp_path / f"trace-{turn}")
        await asyncio.to_thread(server.start)
        try:
            await crowd.check(server.url)
        except AssertionError as loss:
            # What is stored was not what had been acknowledged.
            assert unsafe
            measured(f"a loss is seen: {str(loss).splitlines()[0]}; {unsafe} bytes were not synced")
            return
        crowd = Crowd(visitors=12, items=6, seed=turn)
        await crowd.arrive(server.url)
    raise AssertionError("no loss in five power cuts: they are not simulated")
