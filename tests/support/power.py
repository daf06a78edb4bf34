"""A power cut, as far as one can be had without pulling the plug.

What an engine writes and syncs is traced by strace, which sees each system call begin and end. After the
engine was killed its file is cut to what was written before the last sync that completed began: nothing else
is promised to outlive a power cut. (``kill -9`` alone would test nothing: what was written lies in the
kernel's memory, and outlives the process.)
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.waiting import wait_for

# `4711 write(9</data/x>, ""..., 232) = 232`, or `… <unfinished ...>` and `4711 <... write resumed>) = 232`.
_CALL = re.compile(
    r"^(?P<thread>\d+) +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>.*(?:= (?P<result>-?\d+).*|<unfinished \.\.\.>)$"
)
_RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>.*= (?P<result>-?\d+)")
_WRITES = ("write", "writev", "pwrite64")
_SYNCS = ("fdatasync", "fsync")


class Trace:
    """What a process does to one file, from now on until it ends."""

    def __init__(self, pid: int, file: Path, log: Path) -> None:
        program = shutil.which("strace")
        assert program, "this test needs strace (Debian: apt-get install strace)"
        self._file, self._log = file, log
        self._before = file.stat().st_size
        calls = ",".join((*_WRITES, *_SYNCS, "ftruncate"))
        options = ("-qq", "-f", "-y", "-s", "0", "-e", f"trace={calls}", "-e", "signal=none")
        self._strace = subprocess.Popen([program, *options, "-o", str(log), "-p", str(pid)])
        wait_for(lambda: _is_traced(pid), "strace to be attached")

    def cut(self) -> int:
        """The process is dead: cut the file to what was safe; how many bytes were not."""
        self._strace.wait(30)
        written, safe = self._replay()
        size = self._file.stat().st_size
        assert written == size, "everything that was written was seen"
        os.truncate(self._file, safe)
        return size - safe

    def _replay(self) -> tuple[int, int]:
        written = safe = self._before
        begun: dict[str, int] = {}
        for line in self._log.read_text().splitlines():
            if (call := _CALL.match(line)) is not None:
                if call["path"] != str(self._file):
                    continue
                begun[call["thread"]] = written
            elif (call := _RESUMED.match(line)) is None or call["thread"] not in begun:
                continue
            if call["result"] is None:
                continue
            at = begun.pop(call["thread"])
            assert call["name"] != "ftruncate", "a file that shrinks is not followed"
            if call["name"] in _WRITES:
                written += max(0, int(call["result"]))
            elif int(call["result"]) == 0:
                safe = max(safe, at)
        return written, safe


def _is_traced(pid: int) -> bool:
    """Whether every thread is."""
    states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in state for state in states)
