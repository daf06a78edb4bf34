"""Ten minutes of churn against a fresh server: does everything come back?

Usage: python tools/soak.py [how long [the first run [steady for [options of tallycast load]]]], such as
``2m 30s 20s --connections 5000``. Fails when the worker's tasks or its channels in the engine do not come
back to what a fresh one has, or its memory or open files to what they were after a first, short run of the
same load. Looks from outside: the tasks are told by a probe in the worker's interpreter (``sitecustomize``).
"""

import json
import os
import re
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

from server.load import units

# fmt: off
LOAD = [
    "--connections", "1000", "--items", "200", "--reactions", "200/s", "--churn", "50/s", "--slow", "1%",
    "--warmup", "0s", "--ramp", "500/s",
]
# fmt: on
# The hub keeps a channel for a while after its last reader went, and the system its sockets (s).
SETTLE = 120.0
LOOK = 0.2
# What may stay: an allocator gives back whole pages, and only when nothing on them is used.
MEMORY = 4 * 2**20
FILES = 2

PROBE = """
import sys
if "server.worker" in sys.orig_argv:
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
    """What the worker holds."""

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
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """A fresh server with one worker: its URL, and the worker's process id."""
    (folder / "sitecustomize.py").write_text(PROBE)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TALLYCAST_") and name not in ("PORT", "REDIS_URL")
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "server", "serve", "--port", "0", "--data", folder / "data"],
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, "PYTHONPATH": str(folder), "TALLYCAST_SOAK": str(folder)},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        url = next(found[0] for line in process.stdout if (found := re.search(r"https?://\S+", line)))
        yield url.rstrip("/"), _worker_of(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def look(folder: Path, worker: int) -> State:
    """What the worker holds now."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(folder / "probe"))
        told = json.loads(probe.makefile().read())
    with Redis.from_url(f"unix://{folder / 'data' / 'engine.sock'}") as engine:
        channels = len(engine.pubsub_channels())
    rollup = Path(f"/proc/{worker}/smaps_rollup").read_text()
    memory = int(re.search(r"Rss:\s+(\d+)", rollup)[1]) * 1024  # type: ignore[index]
    files = len(os.listdir(f"/proc/{worker}/fd"))
    return State(memory, files, told["tasks"], channels, told["objects"])


def load(url: str, duration: str, options: Sequence[str]) -> None:
    """Run the harness; its checks must pass, whatever it says of the machine."""
    command = [sys.executable, "-P", "-m", "server", "load", url, *LOAD, *options, "--duration", duration]
    status = subprocess.run(command, check=False).returncode
    if status not in (0, 2):
        raise SystemExit(f"soak: the load test ended with status {status}")


def too_much(before: State, after: State) -> list[str]:
    """What has not come back."""
    allowed = State(
        before.memory + MEMORY, before.files + FILES, before.tasks, before.channels, after.objects
    )
    return [name for name, most, now in zip(State._fields, allowed, after, strict=True) if now > most]


def settled(folder: Path, worker: int, steady: float) -> State:
    """What the worker holds when its files, tasks and channels have been the same for so long (s)."""
    state, since = look(folder, worker), time.monotonic()
    deadline = since + SETTLE
    while time.monotonic() < min(deadline, since + steady):
        time.sleep(LOOK)
        now = look(folder, worker)
        if now[1:4] != state[1:4]:
            since = time.monotonic()
        state = now
    return state


def come_back(folder: Path, worker: int, before: State) -> State:
    """What the worker holds when it has let go of everything, or had the time to."""
    deadline = time.monotonic() + SETTLE
    while too_much(before, state := look(folder, worker)) and time.monotonic() < deadline:
        time.sleep(LOOK)
    return state


def main(duration: str = "10m", first: str = "30s", steady: str = "20s", *options: str) -> int:
    """The exit status."""
    # Told to stop, it stops its server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tallycast-soak-") as name:
        folder = Path(name)
        with server(folder) as (url, worker):
            fresh = settled(folder, worker, units.duration(steady))
            print(f"fresh:       {fresh}", flush=True)
            load(url, first, options)
            used = settled(folder, worker, units.duration(steady))
            print(f"first run:   {used}", flush=True)
            # What ran for the first time took memory and connections to the engine for good; nothing after
            # it may.
            before = fresh._replace(memory=used.memory, files=used.files)
            load(url, duration, options)
            after = come_back(folder, worker, before)
            print(f"afterwards:  {after}", flush=True)
    wrong = too_much(before, after)
    print(f"soak: {'did not come back: ' + ', '.join(wrong) if wrong else 'everything came back'}")
    return 1 if wrong else 0


def _worker_of(parent: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                ours = (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if ours and b"server.worker" in command:
                return int(entry.name)
    raise SystemExit("soak: no worker")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
