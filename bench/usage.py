"""CPU time and memory of processes, as the operating system accounts for them.

Owns the reading of clocks and of ``/proc``. Must not know what the processes are. Linux only.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# A process that is left alone counts as quiet when it uses less than this share of a core.
QUIET = 0.04
LOOK = 0.05

_NS = 1e-9
ESTABLISHED = "01"


def cpu(pid: int) -> float:
    """Seconds of CPU that all threads of the process have used so far, to the nanosecond.

    The clock of another process (clock_getcpuclockid(3)), because the ticks of ``/proc/<pid>/stat`` are 10 ms
    long, and ``/proc/<pid>/schedstat`` leaves out every thread but the first.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) * _NS


def resident(pid: int) -> int:
    """Bytes of memory that the process holds. Not from ``status``, whose numbers lag behind."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def open_files(pid: int) -> int:
    """How many files and connections the process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def connections(port: int) -> int:
    """How many TCP connections to a port of this machine its owner has open (IPv4)."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        found += state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return found


@contextmanager
def metered(processes: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """What each of the named processes uses inside the ``with`` block; filled in at its end."""
    used: dict[str, float] = {}
    before = {name: cpu(pid) for name, pid in processes.items()}
    yield used
    used.update({name: cpu(pid) - before[name] for name, pid in processes.items()})


def settle(processes: Mapping[str, int], within: float = 5.0) -> None:
    """Wait until the processes have nothing left to do; for a while only, because some are never quiet."""
    deadline = time.monotonic() + within
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        with metered(processes) as used:
            time.sleep(LOOK)
        quiet = quiet + 1 if sum(used.values()) < QUIET * LOOK else 0
