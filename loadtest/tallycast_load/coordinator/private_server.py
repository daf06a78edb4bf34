"""A private server for a run without a URL: the real command on a free port, with a temporary data folder.

Owns that process and its raised limits: a run does in a second what visitors do in an hour. Does not depend
on the server's code.
"""

import asyncio
import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Self

from tallycast_load.plan.errors import LoadError

START_TIMEOUT, STOP_TIMEOUT = 30.0, 15.0  # s
# The default limit, and room for connections that reconnect before their end is noticed.
CONNECTIONS, SPARE_CONNECTIONS = 20_000, 1_000
LIMITS_RAISED = "the private server's rate limits are raised for this run"
_UNLIMITED = "1000000/s burst 1000000"
# A sites file whose rate limits no run reaches.
SITES = f"""
[sites.default]
origins = ["*"]

[sites.default.limits]
messages = "{_UNLIMITED}"
ids = "{_UNLIMITED}"
reactions = "{_UNLIMITED}"
new_items = "{_UNLIMITED}"
"""


class PrivateServer:
    """A context manager: the server is ready at ``url``, for so many connections."""

    def __init__(self, connections: int = 1) -> None:
        self.url = ""
        self._connections = max(CONNECTIONS, connections + SPARE_CONNECTIONS)
        self._folder = Path(tempfile.mkdtemp(prefix="tallycast-load-"))
        self._process: asyncio.subprocess.Process | None = None
        self._output: list[str] = []
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=1.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of the server's parent process."""
        assert self._process is not None
        return self._process.pid

    async def _start(self) -> None:
        # No variable may lead it to existing data.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TALLYCAST_") and name not in ("PORT", "REDIS_URL")
        }
        config = self._folder / "tallycast.toml"
        config.write_text(SITES)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "tallycast", "serve", "--port", "0", "--data", self._folder),
            *("--config", config, "--connections", str(self._connections)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            # Ctrl+C on the terminal is for the harness, which then ends the server.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(url))
        try:
            self.url = await asyncio.wait_for(url, START_TIMEOUT)
        except TimeoutError:
            raise LoadError(f"the private server was not ready within {START_TIMEOUT:g} s") from None

    async def _read(self, url: "asyncio.Future[str]") -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            decoded = line.decode(errors="replace").rstrip()
            self._output = [*self._output, decoded][-20:]
            address = re.search(r"https?://\S+", decoded)
            if address is not None and not url.done():
                url.set_result(address[0].rstrip("/"))
        if not url.done():
            output = " / ".join(self._output) or "nothing"
            url.set_exception(LoadError(f"the private server did not start; its output: {output}"))


def _end_with_parent() -> None:
    """In the new process: get SIGTERM when the harness is killed (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
