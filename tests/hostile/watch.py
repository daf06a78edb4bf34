"""A server under attack, watched from outside: its memory, its log, and how a good client fares meanwhile.

Owns the pass figures. Must not know what the attack is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import ServerProcess
from tests.support.processes import resident
from tests.support.waiting import wait_for

# ``make hostile``; else a short form, on machines that do other things as well.
FULL = os.environ.get("HOSTILE") == "full"
MEMORY = 2 * 2**20
# How long (s) a good client waits at most.
PATIENCE = 1.0 if FULL else 10.0
SETTLE = 60.0


def highest(pid: int) -> int:
    """The most it had since ``forget_highest``."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_highest(pid: int) -> None:
    """Begin anew with ``highest`` (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def attack(server: ServerProcess, name: str, *, most: int | None = None) -> Iterator[None]:
    """What is done inside is an attack. Afterwards memory must come back, and good clients not have suffered.

    ``most`` is how far (bytes) a worker's memory may rise meanwhile.
    """
    workers = server.workers
    said = len(server.output())
    with _good_client(server) as report:
        before = {worker: resident(worker) for worker in workers}
        for worker in workers:
            forget_highest(worker)
        yield
        rose = max(highest(worker) - before[worker] for worker in workers)
    pongs, welcomes = report["pongs"], report["welcomes"]
    stays = max(_settled(worker, before[worker]) for worker in workers)
    print(
        f"\nhostile: {name}: memory {_mib(rose)} at most, {_mib(stays)} after (2 allowed); good client: "
        f"pong p50 {1000 * pongs[len(pongs) // 2]:.1f} ms, max {1000 * pongs[-1]:.0f} ms, "
        f"let in within {1000 * welcomes[-1]:.0f} ms ({PATIENCE:g} s allowed)"
    )
    assert server.workers == workers, "a worker died"
    assert "Traceback" not in server.output()[said:]
    assert stays <= MEMORY, f"{_mib(stays)} did not come back"
    assert most is None or rose <= most, f"memory rose by {_mib(rose)}"
    assert pongs[-1] <= PATIENCE
    assert welcomes[-1] <= PATIENCE


def _mib(size: int) -> str:
    return f"{size / 2**20:+.1f} MiB"


def _settled(worker: int, before: int) -> int:
    """How much memory stays, when what goes has gone."""
    try:
        wait_for(lambda: resident(worker) - before <= MEMORY, "memory", SETTLE)
    except AssertionError:
        pass
    return resident(worker) - before


@contextmanager
def _good_client(server: ServerProcess) -> Iterator[dict[str, list[float]]]:
    command = [sys.executable, "-m", "tests.hostile.good", server.ws_url]
    report: dict[str, list[float]] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdin is not None
        try:
            assert client.stdout.readline() == "ready\n"
            yield report
        finally:
            client.stdin.close()
            last = client.stdout.read()
        report.update(json.loads(last))
