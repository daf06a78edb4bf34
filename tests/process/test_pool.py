"""Workers that are replaced: what may go wrong. That no client notices is among the faults."""

import asyncio
import os
import signal
from pathlib import Path

import httpx

from tests.client.websocket import connect
from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.waiting import eventually, wait_for

# Ends the start of a worker, from then on when the file is there.
CANNOT_START = """
import os, sys
if "tallycast.process.worker" in sys.orig_argv and os.path.exists({flag!r}):
    os._exit(3)
"""


def said(server: ServerProcess, words: str) -> int:
    return server.output().count(words)


def test_a_new_worker_that_does_not_serve_changes_nothing(make_server: MakeServer, tmp_path: Path) -> None:
    flag = tmp_path / "cannot"
    (tmp_path / "sitecustomize.py").write_text(CANNOT_START.format(flag=str(flag)))
    server = make_server(flags=["--workers", "2"], env={"PYTHONPATH": str(tmp_path)})
    before = server.workers
    flag.touch()
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: said(server, "worker not replaced"), "the failure")
    assert server.workers == before
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    # The place is as it was: its worker is still looked after.
    flag.unlink()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: said(server, "worker restarted"), "another worker")
    assert said(server, "worker replacement completed") == 0


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
        await eventually(lambda: said(server, "a replacement is under way") == 1)
        os.kill(server.pid, signal.SIGTERM)
        os.kill(old, signal.SIGCONT)
        assert await asyncio.to_thread(server.wait, 30) == 0
    await asyncio.to_thread(server.family_is_gone)
    assert "Traceback" not in server.output()


def test_new_sites_are_sent_to_a_replacement_worker(make_server: MakeServer, tmp_path: Path) -> None:
    config = tmp_path / "sites.toml"
    config.write_text('[sites.first]\norigins = ["*"]\n')
    server = make_server(flags=["--config", str(config)])
    os.kill(server.pid, signal.SIGUSR2)
    wait_for(lambda: said(server, "worker replacement completed"), "the replacement")
    config.write_text('[sites.second]\norigins = ["*"]\n')
    os.kill(server.pid, signal.SIGHUP)
    items = f"{server.url}/v1/items?item=a&site="
    wait_for(lambda: httpx.get(items + "second").status_code == 200, "the second site")
    assert httpx.get(items + "first").status_code == 404
