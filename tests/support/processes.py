"""Looking at processes from outside, without their help."""

import os
import signal
from pathlib import Path

from tests.support.waiting import wait_for


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> dict[int, str]:
    """The living children of a process, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if parent == str(pid) and is_alive(int(entry.name)):
            found[int(entry.name)] = command
    return found


def wait_until_gone(pids: list[int], within: float = 15.0) -> None:
    """Fails when one of the processes is still there after a while."""
    wait_for(lambda: not any(map(is_alive, pids)), f"the end of the processes {pids}", within)


def kill(pid: int) -> None:
    """SIGKILL, and wait for the end."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until_gone([pid])


def clients(pid: int) -> int:
    """How many clients are connected to a process over TCP; its links to the engine are none."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = {f"socket:[{row[9]}]" for row in rows if row[3] == "01"}
    return sum(_leads_to(entry) in established for entry in Path(f"/proc/{pid}/fd").iterdir())


def resident(pid: int) -> int:
    """The resident memory of a process (bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def listening_port(pid: int) -> int | None:
    """The first TCP port that a process listens on."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {f"socket:[{row[9]}]": row[1].rpartition(":")[2] for row in rows if row[3] == "0A"}
    found = [
        ports[inode] for entry in Path(f"/proc/{pid}/fd").iterdir() if (inode := _leads_to(entry)) in ports
    ]
    return int(found[0], 16) if found else None


def _leads_to(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""  # closed meanwhile
