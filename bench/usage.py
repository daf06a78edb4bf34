"""CPU time, memory and connections of processes, as Linux accounts for them.

Owns the reading of clocks and of ``/proc``. Does not depend on what the processes are.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

IDLE_SHARE = 0.04  # of a core; processes that use less together count as idle
INTERVAL = 0.05  # s, between two looks

_NS = 1e-9
_ESTABLISHED = "01"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used so far, with a resolution of nanoseconds.

    Reads the clock of the process (clock_getcpuclockid(3)): the ticks of ``/proc/<pid>/stat`` are 10 ms long,
    and ``/proc/<pid>/schedstat`` leaves out every thread but the first.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) * _NS


def resident_memory(pid: int) -> int:
    """Return the resident memory of a process in bytes. Not from ``status``, whose numbers lag behind."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def open_files(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def connections(port: int) -> int:
    """Return how many established TCP connections a local IPv4 port has."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        found += state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return found


@contextmanager
def cpu_used(processes: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """Measure the CPU time of named processes during the ``with`` block (s); filled in at its end."""
    used: dict[str, float] = {}
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    yield used
    used.update({name: cpu_seconds(pid) - before[name] for name, pid in processes.items()})


def wait_until_idle(processes: Mapping[str, int], timeout: float = 5.0) -> None:
    """Wait until the processes are idle twice in a row, or for ``timeout`` seconds: some never are."""
    deadline = time.monotonic() + timeout
    idle = 0
    while idle < 2 and time.monotonic() < deadline:
        with cpu_used(processes) as used:
            time.sleep(INTERVAL)
        idle = idle + 1 if sum(used.values()) < IDLE_SHARE * INTERVAL else 0
