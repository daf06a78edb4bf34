"""An engine without a server: straight from the binary, on a socket of its own, nothing kept."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError
from tallycast.engine.embedded import launch
from tallycast.engine.embedded.server import find_binary

from tests.support.waiting import wait_for


def engine_program(product: str, folder: Path) -> Path:
    """The program of ``valkey`` or ``redis``; a link to it is made in a folder of the test's."""
    if product == "valkey":
        return find_binary()
    # One program, which serves when it is called so.
    found = shutil.which("redis-check-rdb")
    assert found, "this test needs redis-check-rdb (Debian: apt-get install redis-tools)"
    program = folder / "redis-server"
    program.symlink_to(found)
    return program


@contextmanager
def private_engine(product: str = "valkey") -> Iterator[str]:
    """The URL of an engine that runs as long as the context."""
    # Not pytest's temporary folder: its paths are too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="tallycast-test-"))
    socket = folder / "engine.sock"
    # Through the launcher, so that it does not outlive a test run that was killed.
    # fmt: off
    command: list[str | Path] = [
        sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), engine_program(product, folder),
        "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", folder,
        "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--logfile", folder / "log",
    ]
    # fmt: on
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        url = f"unix://{socket}"
        _wait_for_answer(url)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


class DurableEngine:
    """An engine with its data in a folder, that can be stopped, robbed of its data, and started again."""

    def __init__(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="tallycast-test-"))
        self.folder = self._place / "data"
        self.url = f"unix://{self._place}/engine.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._place)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # fmt: off
        command: list[str | Path] = [
            sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), find_binary(),
            "--port", "0", "--unixsocket", self._place / "engine.sock", "--dir", self.folder,
            "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", self._place / "log",
        ]
        # fmt: on
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        _wait_for_answer(self.url)

    def stop(self) -> None:
        """Stop it in good order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def flush(url: str) -> None:
    """Forget everything, scripts included."""
    with Redis.from_url(url) as client:
        client.flushall()
        client.script_flush()


def is_up(client: "Redis[Any]") -> bool:
    """Whether an engine answers."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


def has_started(process: "subprocess.Popen[bytes]", client: "Redis[Any]") -> bool:
    """Whether an engine serves, in the end; not when another process was faster with its port."""
    wait_for(lambda: is_up(client) or process.poll() is not None, "an engine's answer")
    return process.poll() is None


def _wait_for_answer(url: str) -> None:
    with Redis.from_url(url) as client:
        wait_for(lambda: is_up(client), "the engine's answer")
