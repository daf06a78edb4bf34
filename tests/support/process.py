"""A whole server as its operator runs it: the real command, the real engine, a port of its own."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from tests.support import processes
from tests.support.reaper import reap_later
from tests.support.waiting import wait_for

START, STOP = 60.0, 30.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any setting of the server in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TALLYCAST_") and name not in ("PORT", "REDIS_URL")
    }
    return {**kept, **(extra or {})}


class ServerProcess:
    """One server on one data folder, through as many starts and deaths as a test wants."""

    def __init__(
        self,
        folder: Path,
        *,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        port: str | None = "0",
        cwd: Path | None = None,
        package: str = "tallycast",
        python: str | Path = sys.executable,
    ) -> None:
        self.data = folder / "data"
        self.url = ""
        self._flags = list(flags)
        self._port = port  # None leaves it to the environment
        self._cwd = cwd
        self._package = package
        self._python = python
        self._env = clean_environment(env)
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, by their numbers."""
        found = {
            pid: int(number[1])
            for pid, command in self._children().items()
            if (number := re.search(r"-m \S+\.worker (\d+)", command))
        }
        return sorted(found, key=lambda pid: found[pid])

    @property
    def engine(self) -> int | None:
        """The process id of the embedded engine."""
        return next((pid for pid, command in self._children().items() if "engine.sock" in command), None)

    def start(self, *, wait: bool = True) -> Self:
        """Run the command; a second start takes the port of the first."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        if self.url.startswith("http"):
            self._port = self.url.rpartition(":")[2]
        port = [] if self._port is None else ["--port", self._port]
        before = self._size()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._python,
                    "-P",
                    "-m",
                    self._package,
                    "serve",
                    *port,
                    "--data",
                    self.data,
                    *self._flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
            )
        reap_later(self._process.pid)
        if wait:
            self.url = wait_for(lambda: self._address(before), "the server's address", START)
            wait_for(self._is_ready, "/readyz", START)
            self._children()
        return self

    def output(self) -> str:
        """Everything it said since the first start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait(self, within: float = STOP) -> int:
        """The exit status."""
        assert self._process is not None
        return self._process.wait(within)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._children()
        self._process.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL to the parent alone. What it started must end by itself: ``family_is_gone``."""
        assert self._process is not None
        self._children()
        self._process.kill()
        self.wait()

    def restart(self) -> None:
        """Start again on the same port and data; stops it before, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
        self.start()

    def family_is_gone(self) -> None:
        """Fails when a process that this server ever started still runs."""
        processes.wait_until_gone(sorted(self._family))

    def close(self) -> None:
        """End whatever still runs; fails when something had to be killed."""
        if self._process is None:
            return
        self._children()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self.wait()
            self.family_is_gone()
        finally:
            for pid in (self.pid, *self._family):
                processes.kill(pid)
            self._process.wait()

    def _children(self) -> dict[int, str]:
        if self._process is None or self._process.poll() is not None:
            return {}
        found = processes.children(self._process.pid)
        self._family.update(found)
        return found

    def _address(self, before: int) -> str:
        assert self._process is not None
        said = self._log.read_bytes()[before:].decode(errors="replace")
        assert self._process.poll() is None, f"the server ended:\n{said}"
        found = re.search(r"(https?://[^\s/]+)/|^Address: +(unix:\S+)", said, re.MULTILINE)
        return found[1] or found[2] if found else ""

    def _is_ready(self) -> bool:
        if self.url.startswith("unix:"):
            path = self.url.removeprefix("unix:")
            try:
                with httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=2) as http:
                    return http.get("http://localhost/readyz").status_code == 200
            except httpx.TransportError:
                return False
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0
