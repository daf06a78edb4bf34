"""The private server: what is said when it does not start, and that it ends with its parent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tallycast_load.coordinator import private_server
from tallycast_load.coordinator.private_server import PrivateServer
from tallycast_load.plan.errors import LoadError

from tests.load.support import harness
from tests.support.process import clean_environment
from tests.support.processes import children, wait_until_gone
from tests.support.waiting import wait_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where its folder is made."""
    monkeypatch.setattr(private_server.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def instead(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program is started in place of the server."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(private_server.sys, "executable", str(program))


def left(folder: Path) -> list[Path]:
    """What it did not take away."""
    return list(folder.glob("tallycast-load-*"))


async def refused() -> str:
    with pytest.raises(LoadError) as caught:
        async with PrivateServer():
            pass
    return str(caught.value)


async def test_what_it_said_when_it_did_not_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead("echo engine: none found; echo good luck; exit 1", place, monkeypatch)
    assert await refused() == "the private server did not start; its output: engine: none found / good luck"
    instead("exit 1", place, monkeypatch)
    assert await refused() == "the private server did not start; its output: nothing"
    assert left(place) == []


async def test_it_must_be_ready_in_time_and_end_in_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not listen, and takes no hint: it is killed."""
    instead("trap '' TERM; while true; do sleep 0.1; done", place, monkeypatch)
    monkeypatch.setattr(private_server, "START_TIMEOUT", 0.2)
    monkeypatch.setattr(private_server, "STOP_TIMEOUT", 0.2)
    server = PrivateServer()
    with pytest.raises(LoadError, match=r"^the private server was not ready within 0\.2 s$"):
        await server.__aenter__()
    wait_until_gone([server.pid])
    assert left(place) == []


async def test_the_environment_does_not_lead_it_to_other_data(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("TALLYCAST_DATA", "/elsewhere")
    monkeypatch.setenv("PORT", "80")
    instead(f"env > {place}/found; echo ready: http://127.0.0.1:1/; exec sleep 60", place, monkeypatch)
    async with PrivateServer() as server:
        assert server.url == "http://127.0.0.1:1"
    found = (place / "found").read_text()
    assert "PATH=" in found
    assert not any(name in found for name in ("elsewhere", "PORT=80"))


async def test_it_refuses_no_client_for_being_too_fast() -> None:
    """One visitor does here what the default limits let a dozen do."""
    async with PrivateServer() as server:
        result = await harness(
            server.url,
            connections="2",
            visitors="1",
            items="50",
            reactions="100/s",
            duration="1s",
            warmup="0s",
        )
    assert result.totals.counted("refused") == {}
    assert result.totals.count("acked") > 50


def test_neither_it_nor_the_processes_outlive_a_harness_that_is_killed(tmp_path: Path) -> None:
    arguments = ["--connections", "5", "--items", "1", "--duration", "60s"]
    harness = subprocess.Popen(
        [sys.executable, "-P", "-m", "tallycast", "load", *arguments],
        env=clean_environment({"TMPDIR": str(tmp_path)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert harness.stderr is not None
    next(line for line in harness.stderr if line.startswith("running"))
    server, worker = sorted(
        children(harness.pid), key=lambda pid: "load.worker" in children(harness.pid)[pid]
    )
    family = [server, worker, *children(server)]
    assert len(family) >= 4, "the engine and a worker of the server as well"
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stderr.close()
    wait_until_gone(family, within=60.0)
    wait_for(lambda: not children(harness.pid), "the end of all")
