"""Workers that are replaced while the server serves: nobody notices but by a `bye`."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.waiting import eventually, wait_for

# Ends the start of a worker, from then on when the file is there.
CANNOT_START = """
import os, sys
if "server.worker" in sys.orig_argv and os.path.exists({flag!r}):
    os._exit(3)
"""


def said(server: ServerProcess, words: str) -> int:
    return server.output().count(words)


async def over_http(server: ServerProcess, visitor: int, done: asyncio.Event) -> int:
    """React one time after the other on a kept connection; how often. Nothing may fail."""
    count = 0
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        token = (await http.post("/v1/visitors")).raise_for_status().json()["token"]
        while not done.is_set():
            answer = await http.put(
                "/v1/reaction",
                params={"item": f"http/{visitor}"},
                json={"reaction": ("like", "dislike")[count % 2]},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == 200, answer.text
            count += 1
            await asyncio.sleep(0.02)
    return count


async def over_a_socket(server: ServerProcess, visitor: int, done: asyncio.Event) -> tuple[int, int]:
    """React and await the ack, come back when told to: how often each. An error fails, a close does not."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        token = (await http.post("/v1/visitors")).raise_for_status().json()["token"]
    acks = returns = 0
    codes: set[int | None] = set()
    while not done.is_set():
        try:
            async with connect(f"{server.ws_url}/ws") as socket:
                await socket.send(json.dumps({"type": "auth", "token": token}))
                assert json.loads(await socket.recv())["type"] == "ready"
                while not done.is_set():
                    wish = {"type": "react", "item": f"ws/{visitor}", "reaction": ("like", None)[acks % 2]}
                    await socket.send(json.dumps(wish))
                    while (answer := json.loads(await socket.recv()))["type"] == "bye":
                        pass
                    assert answer["type"] == "ack", answer
                    acks += 1
                    await asyncio.sleep(0.02)
        except ConnectionClosed as closed:
            codes.add(closed.rcvd and closed.rcvd.code)
            returns += 1
    assert codes <= {1012}, codes
    return acks, returns


@pytest.mark.parametrize("workers", [1, 2])
async def test_workers_are_replaced_without_a_failed_reaction(make_server: MakeServer, workers: int) -> None:
    server = make_server(flags=["--workers", str(workers), "--drain", "3"])
    before = server.workers
    done = asyncio.Event()
    http = [asyncio.create_task(over_http(server, i, done)) for i in range(5)]
    sockets = [asyncio.create_task(over_a_socket(server, i, done)) for i in range(10)]
    try:
        for turn in range(1, 3):
            os.kill(server.pid, signal.SIGUSR2)
            await eventually(
                lambda turn=turn: (
                    said(server, "all workers were replaced") == turn
                    or any(task.done() for task in (*http, *sockets))
                ),
                within=60,
            )
            assert len(server.workers) == workers
            assert not set(before) & set(server.workers)
            before = server.workers
    finally:
        done.set()
    assert all(await asyncio.gather(*http))
    returns = 0
    for task in sockets:
        acks, came_back = await task
        assert acks
        returns += came_back
    assert returns >= len(sockets), "everybody was moved at least once"
    assert said(server, "a worker died") == 0


def test_a_new_worker_that_does_not_serve_changes_nothing(make_server: MakeServer, tmp_path: Path) -> None:
    flag = tmp_path / "cannot"
    (tmp_path / "sitecustomize.py").write_text(CANNOT_START.format(flag=str(flag)))
    server = make_server(flags=["--workers", "2"], env={"PYTHONPATH": str(tmp_path)})
    before = server.workers
    flag.touch()
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: said(server, "the new worker does not serve; the old one stays"), "the failure")
    assert server.workers == before
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    # The place is as it was: its worker is still looked after.
    flag.unlink()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: said(server, "a worker is back"), "another worker")
    assert said(server, "all workers were replaced") == 0


async def test_stopped_while_it_replaces(make_server: MakeServer) -> None:
    """Old and new both end, and in the time that there is."""
    server = make_server(flags=["--drain", "60"])
    async with connect(f"{server.ws_url}/ws?item=a") as page:
        await page.recv()
        (old,) = server.workers
        # It cannot leave, and so its successor waits for it.
        os.kill(old, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGUSR2)
        await eventually(lambda: len(server.workers) == 2, within=30)
        os.kill(server.pid, signal.SIGUSR2)
        await eventually(lambda: said(server, "are being replaced already") == 1)
        os.kill(server.pid, signal.SIGTERM)
        os.kill(old, signal.SIGCONT)
        assert await asyncio.to_thread(server.wait, 30) == 0
    await asyncio.to_thread(server.family_is_gone)
    assert "Traceback" not in server.output()


def test_sites_are_told_to_a_worker_that_came_by_replacement(make_server: MakeServer, tmp_path: Path) -> None:
    config = tmp_path / "sites.toml"
    config.write_text('[sites.first]\norigins = ["*"]\n')
    server = make_server(flags=["--config", str(config)])
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: said(server, "all workers were replaced"), "the replacement")
    config.write_text('[sites.second]\norigins = ["*"]\n')
    os.kill(server.pid, signal.SIGHUP)
    items = f"{server.url}/v1/items?item=a&site="
    wait_for(lambda: httpx.get(items + "second").status_code == 200, "the second site")
    assert httpx.get(items + "first").status_code == 404
