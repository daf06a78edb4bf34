"""Puts ten minutes of churn on a fresh server and checks that it releases everything afterwards.

Usage: python tools/soak.py [duration [first run [steady [options of tallycast load]]]], such as ``2m 30s 20s
--connections 5000``. Fails when the worker's tasks or its channels in the engine do not return to those of a
fresh worker, or its memory or open files to those after a first, short run of the same load. ``steady`` is
how long files, tasks and channels must be constant before they are compared. A probe in the worker's
interpreter (``sitecustomize``) counts the tasks; the rest is read from outside.
"""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from tallycast_load.plan import units

from bench.usage import open_files, resident_memory
from tests.support.process import ServerProcess

# fmt: off
LOAD = [
    "--connections", "1000", "--items", "200", "--reactions", "200/s", "--churn", "50/s", "--slow", "1%",
    "--warmup", "0s", "--ramp", "500/s",
]
# fmt: on
# The hub keeps a channel for a while after its last watcher left, and the kernel its sockets (s).
TIMEOUT = 120.0
INTERVAL = 0.2  # s, between two looks
# Allowed growth. Memory: an allocator returns whole pages, and only those on which nothing is used.
MEMORY = 4 * 2**20  # bytes
FILES = 2

PROBE = """
import sys
if any(argument.endswith(".worker") for argument in sys.orig_argv):
    import asyncio, gc, json, os, socket, threading

    def answer():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(os.environ["TALLYCAST_SOAK"], "probe"))
        listener.listen()
        while True:
            connection, _ = listener.accept()
            loops = [one for one in gc.get_objects() if isinstance(one, asyncio.AbstractEventLoop)]
            gc.collect()
            names = [task.get_name() for loop in loops for task in asyncio.all_tasks(loop)]
            connection.sendall(json.dumps({"tasks": len(names), "objects": len(gc.get_objects())}).encode())
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
"""


class State(NamedTuple):
    """The resources that the worker holds.

    ``memory`` is in bytes; ``files`` are without the connections to the engine.
    """

    memory: int
    files: int
    tasks: int
    channels: int
    objects: int

    def __str__(self) -> str:
        return (
            f"{self.memory / 2**20:.1f} MiB, {self.files} files, {self.tasks} tasks, "
            f"{self.channels} channels, {self.objects:,} objects"
        )


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, int]]:
    """Start a fresh server with one worker. Yields its URL and the worker's process id."""
    (folder / "sitecustomize.py").write_text(PROBE)
    with ServerProcess(folder, env={"PYTHONPATH": str(folder), "TALLYCAST_SOAK": str(folder)}) as server:
        server.start()
        yield server.url, server.workers[0]


def look(folder: Path, worker: int) -> State:
    """Return what the worker holds now."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(folder / "probe"))
        counts = json.loads(probe.makefile().read())
    with Redis.from_url(f"unix://{folder / 'data' / 'engine.sock'}") as engine:
        channels = len(engine.pubsub_channels())
        # A pool keeps the connections that the busiest moment needed, and is bounded: they are no leak.
        files = open_files(worker) - engine.info("clients")["connected_clients"]
    return State(resident_memory(worker), files, counts["tasks"], channels, counts["objects"])


def load(url: str, duration: str, options: Sequence[str]) -> None:
    """Run the harness. Its checks must pass; a machine too busy for its figures (status 2) is fine."""
    command = [sys.executable, "-P", "-m", "tallycast", "load", url, *LOAD, *options, "--duration", duration]
    status = subprocess.run(command, check=False).returncode
    if status not in (0, 2):
        raise SystemExit(f"soak: the load test ended with status {status}")


def too_much(before: State, after: State) -> list[str]:
    """Return the names of what was not released."""
    allowed = State(
        before.memory + MEMORY, before.files + FILES, before.tasks, before.channels, after.objects
    )
    return [name for name, limit, now in zip(State._fields, allowed, after, strict=True) if now > limit]


def wait_until_steady(folder: Path, worker: int, seconds: float) -> State:
    """Return what the worker holds once files, tasks and channels are constant for so many seconds."""
    state, since = look(folder, worker), time.monotonic()
    deadline = since + TIMEOUT
    while time.monotonic() < min(deadline, since + seconds):
        time.sleep(INTERVAL)
        now = look(folder, worker)
        if now[1:4] != state[1:4]:
            since = time.monotonic()
        state = now
    return state


def wait_until_released(folder: Path, worker: int, before: State) -> State:
    """Return what the worker holds once it has released everything, or had the time to."""
    deadline = time.monotonic() + TIMEOUT
    while too_much(before, state := look(folder, worker)) and time.monotonic() < deadline:
        time.sleep(INTERVAL)
    return state


def main(duration: str = "10m", first: str = "30s", steady: str = "20s", *options: str) -> int:
    """Run the churn. Returns the exit status."""
    # SIGTERM stops the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tallycast-soak-") as name:
        folder = Path(name)
        with started(folder) as (url, worker):
            fresh = wait_until_steady(folder, worker, units.duration(steady))
            print(f"fresh:       {fresh}", flush=True)
            load(url, first, options)
            used = wait_until_steady(folder, worker, units.duration(steady))
            print(f"first run:   {used}", flush=True)
            # Code that ran for the first time keeps memory and connections to the engine; nothing later may.
            before = fresh._replace(memory=used.memory, files=used.files)
            load(url, duration, options)
            after = wait_until_released(folder, worker, before)
            print(f"afterwards:  {after}", flush=True)
    wrong = too_much(before, after)
    print(f"soak: {'did not come back: ' + ', '.join(wrong) if wrong else 'everything came back'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
