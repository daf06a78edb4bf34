"""A server of one's own for a first look: the real command on a free port, with a folder that goes away.

Owns that process and its limits, which are out of the way: a run does in a second what people do in an hour.
It is found and asked as any other server is.
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

from tallycast.contract.errors import LoadError

START, STOP = 30.0, 15.0
# As many as by default, and room for those that come back before they are missed.
CONNECTIONS, SPARE_CONNECTIONS = 20_000, 1_000
LOOSENED = "the private server's limits are loosened for this run: nobody is refused for being too fast"
_MUCH = "1000000/s burst 1000000"
# A file of sites with which nobody is too fast.
SITES = f"""
[sites.default]
origins = ["*"]

[sites.default.limits]
messages = "{_MUCH}"
ids = "{_MUCH}"
reactions = "{_MUCH}"
new_items = "{_MUCH}"
"""


class PrivateServer:
    """``async with PrivateServer() as server``: it is ready at ``server.url``, for so many connections."""

    def __init__(self, connections: int = 1) -> None:
        self.url = ""
        self._connections = max(CONNECTIONS, connections + SPARE_CONNECTIONS)
        self._folder = Path(tempfile.mkdtemp(prefix="tallycast-load-"))
        self._process: asyncio.subprocess.Process | None = None
        self._said: list[str] = []
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
                await asyncio.wait_for(self._process.wait(), STOP)
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
        # Nothing of the environment may lead it to somebody's data.
        kept = {
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
            env=kept,
            # Ctrl+C on the terminal is for the harness, which then ends the server.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(found))
        try:
            self.url = await asyncio.wait_for(found, START)
        except TimeoutError:
            raise LoadError(f"the private server was not ready within {START:g} s") from None

    async def _read(self, found: "asyncio.Future[str]") -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._said = [*self._said, text][-20:]
            place = re.search(r"https?://\S+", text)
            if place is not None and not found.done():
                found.set_result(place[0].rstrip("/"))
        if not found.done():
            said = " / ".join(self._said) or "nothing"
            found.set_exception(LoadError(f"the private server did not start; it said: {said}"))


def _end_with_parent() -> None:
    """In the new process: be told to stop when the harness is killed (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
