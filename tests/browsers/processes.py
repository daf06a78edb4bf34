"""A process whose output is read line by line, and that is ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.browser.tabs import PATIENCE
from tests.support.reaper import reap_later


class Process:
    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        # A file, not a pipe: what is not read must not stop it.
        self._output = tempfile.NamedTemporaryFile(prefix="tallycast-output-")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reap_later(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> str:
        return Path(self._output.name).read_text(errors="replace")

    async def line(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Wait for a complete line of output in which the pattern is found."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.output().splitlines(keepends=True):
                    if line.endswith("\n") and (found := pattern.search(line)):
                        return found
                assert self._process.poll() is None, f"{self._process.args!r} ended: {self.output()}"
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """End the process and its children: politely, and after a while by SIGKILL."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._output.close()
