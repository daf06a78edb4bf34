"""What this machine allows: open files, processor cores, processes of the harness.

Must not know servers.
"""

import os
import resource
from contextlib import suppress

from tallycast.contract.errors import LoadError

from tallycast_load.plan.plan import Plan

# What a process needs besides its connections: pipes, libraries, the sockets of HTTP requests.
SPARE_FILES = 400
CONNECTIONS_A_PROCESS = 1000
# Its niceness: root may, and whoever is allowed to (RLIMIT_NICE).
PRIORITY = -5


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(plan: Plan, *, shared: bool) -> int:
    """How many processes a run is divided among; ``shared``: the server is on this machine too."""
    if plan.processes is not None:
        return min(plan.processes, plan.connections)
    wanted = max(1, cores() // 2 if shared else cores())
    useful = -(-plan.connections // CONNECTIONS_A_PROCESS)
    needed = -(-plan.connections // max(1, _most_files() - SPARE_FILES))
    return max(needed, min(wanted, useful))


def files_for(plan: Plan, processes: int) -> int:
    """Open files that each process needs."""
    return -(-plan.connections // processes) + SPARE_FILES


def allow_files(number: int) -> None:
    """Raise the limit on open files as far as it goes.

    Raises:
        LoadError: that is not far enough; the line says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _most_files()
    for limits in ((max(number, soft), max(number, hard)), (most, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        break
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        raise LoadError(
            f"a process of the harness needs {number:,} open files and may have {soft:,}: raise the limit "
            f"(ulimit -Hn {number} as root), or divide the connections with --processes"
        )


def go_first() -> None:
    """Have this process run before others, where it may: a generator that waits measures its waiting."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def _most_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**20 if hard == resource.RLIM_INFINITY else hard
