"""The C programs of the bench, compiled when they are needed.

Owns the compiler's call and the folder of what it makes. Must not know what a program does.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from bench.errors import Unavailable

HERE = Path(__file__).parent
BUILD = HERE / "build"

_SOURCES = {
    "load": ("load.c", "pool.c", "latency.c", "pings.c", "words.c"),
    "floor": ("contenders/floor.c",),
    "drain": ("drain.c",),
}


def program(name: str) -> Path:
    """The path of a program, compiled anew when a source is newer.

    Raises:
        Unavailable: there is no compiler, or it refuses.
    """
    made = BUILD / name
    sources = [HERE / source for source in _SOURCES[name]]
    newest = max(path.stat().st_mtime for path in (*sources, *HERE.glob("*.h")))
    if made.exists() and made.stat().st_mtime > newest:
        return made
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        raise Unavailable(f"no C compiler on this machine: {command[0]} is not found")
    BUILD.mkdir(exist_ok=True)
    # Made aside and moved: another run may be using the old one.
    fresh = BUILD / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [*command, "-O2", "-o", fresh, *sources], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise Unavailable(f"{command[0]} refuses {name}: {done.stderr.strip().splitlines()[-1:]}")
    fresh.replace(made)
    return made
