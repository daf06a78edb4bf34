"""Compiles the bench's C programs when they are needed.

Owns the call of the compiler and the folder of its output. Does not depend on what a program does.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from bench.errors import UnavailableError

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"

_SOURCES = {
    "load": "load/*.c",
    "send_loop": "contenders/send_loop.c",
    "recv_loop": "harness/recv_loop.c",
}


def program(name: str) -> Path:
    """Return the path of a program, compiled anew when a source is newer.

    Raises:
        UnavailableError: there is no compiler, or it fails.
    """
    binary = BUILD / name
    sources = sorted(HERE.glob(_SOURCES[name]))
    newest = max(path.stat().st_mtime for path in (*sources, *HERE.glob("load/*.h")))
    if binary.exists() and binary.stat().st_mtime > newest:
        return binary
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        raise UnavailableError(f"no C compiler on this machine: {command[0]} is not found")
    BUILD.mkdir(parents=True, exist_ok=True)
    # Renamed into place: another run may be using the old one.
    fresh = BUILD / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [*command, "-O2", "-o", fresh, *sources], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise UnavailableError(f"{command[0]} fails on {name}: {done.stderr.strip().splitlines()[-1:]}")
    fresh.replace(binary)
    return binary
