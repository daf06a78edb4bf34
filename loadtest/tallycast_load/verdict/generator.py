"""Whether the load generator kept up: if not, the run says nothing about the server.

Pure.
"""

from collections.abc import Sequence

from tallycast_load.plan.units import show_share

# The largest share of reactions that may be sent more than 10 ms after they were due.
LATE = 0.01
# As many late ones are accepted in any run: of fewer than a hundred reactions, one is over that share.
MIN_LATE = 3
# The largest share of a core that a process may use over the measured time.
BUSY = 0.95


def kept_up(due: int, late: int) -> bool:
    """Whether enough reactions were sent on time."""
    return late <= max(LATE * due, MIN_LATE)


def complaints(due: int, late: int, cpu: Sequence[float], cores: int, *, shared: bool) -> list[str]:
    """Why the run is invalid, each with what to change; empty when it is valid.

    ``cpu`` is each process's share of a core over the measured time; ``shared``: the server is on this
    machine too.
    """
    found = []
    busy = [share for share in cpu if share > BUSY]
    advice = _advice(len(cpu), cores, busy=bool(busy), shared=shared)
    if not kept_up(due, late):
        found.append(
            f"{show_share(late / due)} of the reactions were sent more than 10 ms after they were due: "
            f"{advice}"
        )
    if busy:
        found.append(
            f"{len(busy)} of {len(cpu)} processes of the harness used up a core "
            f"({show_share(max(busy))}): {advice}"
        )
    return found


def _advice(processes: int, cores: int, *, busy: bool, shared: bool) -> str:
    less = "reduce the load (--connections, --reactions)"
    if busy and processes < cores:
        return f"raise --processes (now {processes}, this machine has {cores} cores), or {less}"
    if shared:
        return f"run the harness on a machine of its own (now both share {cores} cores), or {less}"
    return f"run the harness on a machine with more cores or less other work, or {less}"
