"""Whether the generator itself kept up: a run in which it did not says nothing about the server.

Pure.
"""

from collections.abc import Sequence

from tallycast_load.plan.units import show_share

# More reactions than this share left more than 10 ms after they were due.
LATE = 0.01
# A process that used more than this share of a core, over the measured time, had none left.
BUSY = 0.95


def kept_up(due: int, late: int) -> bool:
    """Whether so many of the reactions left on time that the rest does not matter."""
    return late <= LATE * due


def complaints(due: int, late: int, cpu: Sequence[float], cores: int, *, shared: bool) -> list[str]:
    """Why the run is invalid, each with what to change; nothing when it is valid.

    ``cpu`` is each process's share of a core while it was measured; ``shared``: with the server on the same
    machine.
    """
    found = []
    busy = [share for share in cpu if share > BUSY]
    advice = _advice(len(cpu), cores, busy=bool(busy), shared=shared)
    if not kept_up(due, late):
        found.append(
            f"{show_share(late / due)} of the reactions left more than 10 ms after they were due: {advice}"
        )
    if busy:
        found.append(
            f"{len(busy)} of {len(cpu)} processes of the harness used up a core "
            f"({show_share(max(busy))}): {advice}"
        )
    return found


def _advice(processes: int, cores: int, *, busy: bool, shared: bool) -> str:
    less = "ask for less (--connections, --reactions)"
    if busy and processes < cores:
        return f"raise --processes (now {processes}, here are {cores} cores), or {less}"
    if shared:
        return f"run the harness on a machine of its own (here both share {cores} cores), or {less}"
    return f"run the harness on a machine with more cores or less to do, or {less}"
