"""Ends what a test process started and cannot end itself, because it was killed.

Owns a process of its own: this file, run by the interpreter. It reads process ids from a pipe, and the end of
the pipe is the death of the test process. Does not depend on what the processes are.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def reap_later(pid: int) -> None:
    """Send SIGTERM to a process, or to the group that it leads, when this process has died before it."""
    pipe = _reaper().stdin
    assert pipe is not None
    pipe.write(b"%d\n" % pid)
    pipe.flush()


@cache
def _reaper() -> "subprocess.Popen[bytes]":
    # In a session of its own, where Ctrl+C does not reach it.
    command = [sys.executable, "-I", "-S", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _started(pid: int) -> str:
    """When a process was started: with its id, that names it for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _main() -> None:
    started = {int(line): _started(int(line)) for line in sys.stdin}
    for pid, when in started.items():
        if when and _started(pid) == when:
            with suppress(ProcessLookupError):  # ended in this moment
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGTERM)
                else:
                    os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    _main()
