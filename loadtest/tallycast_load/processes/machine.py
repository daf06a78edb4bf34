"""What this machine allows: open files, processor cores, processes of the harness.

Does not depend on servers.
"""

import os
import resource
from contextlib import suppress

from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import Plan

# What a process needs besides its connections: pipes, libraries, the sockets of HTTP requests.
SPARE_FILES = 400
CONNECTIONS_PER_PROCESS = 1000
# The niceness of a worker: for root, or where RLIMIT_NICE allows it.
PRIORITY = -5


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(plan: Plan, *, shared: bool) -> int:
    """How many worker processes a run uses; ``shared``: the server is on this machine too."""
    if plan.processes is not None:
        return min(plan.processes, plan.connections)
    wanted = max(1, cores() // 2 if shared else cores())
    useful = -(-plan.connections // CONNECTIONS_PER_PROCESS)
    needed = -(-plan.connections // max(1, _max_files() - SPARE_FILES))
    return max(needed, min(wanted, useful))


def files_for(plan: Plan, processes: int) -> int:
    """How many open files each process needs."""
    return -(-plan.connections // processes) + SPARE_FILES


def allow_files(number: int) -> None:
    """Raise the limit on open files.

    Raises:
        LoadError: it cannot be raised far enough; the line says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    maximum = _max_files()
    for limits in ((max(number, soft), max(number, hard)), (maximum, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        break
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        raise LoadError(
            f"a process of the harness needs {number:,} open files, and its limit is {soft:,}: "
            f"raise the limit (ulimit -Hn {number} as root), or divide the connections with --processes"
        )


def raise_priority() -> None:
    """Raise this process's priority where allowed: a generator that waits for a core measures itself."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def _max_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**20 if hard == resource.RLIM_INFINITY else hard
