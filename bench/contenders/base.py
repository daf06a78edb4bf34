"""What a contender is to the bench: something to start, and how it is asked.

Owns the terms and the start of a process. Must not know what is measured.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import Unavailable

START = 20.0

# What every contender delivers: as long, and the same words, as an update of ours.
PAYLOAD = '{"type":"counts","item":"bench-$I","version":1767225600000000,"counts":{"like":1,"dislike":0}}'
# $I becomes three digits.
PAYLOAD_SIZE = len(PAYLOAD) + 1


@dataclass(frozen=True)
class Dialect:
    """How a contender is spoken to. ``$I`` is an item's number; ``path`` watches it, ``plain`` nothing."""

    path: str = "/?item=bench-$I"
    plain: str = "/"
    protocol: str | None = None
    hello: tuple[str, ...] = ()  # what every connection says first
    ready: str | None = None  # and how the answer begins, after which it is ready
    trigger: str = "bench-$I|" + PAYLOAD  # makes it send an update to all who watch the item
    match: str = '{"type":"counts"'  # how such an update begins
    size: int = PAYLOAD_SIZE  # and how long it is
    reply: str | None = None  # how the answer to the trigger begins, if there is one


@dataclass(frozen=True)
class Running:
    """A contender that runs. ``hellos``, one a sender, are what those say first who trigger or react."""

    port: int
    # "server", with more workers also "server 2" and so on; for ours "supervisor" and "engine" as well.
    processes: dict[str, int]
    hellos: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Contender:
    """Someone who is measured. ``start`` takes a folder of its own, and the number of senders that are to
    come.

    ``start`` raises ``Unavailable`` where it cannot run.
    """

    key: str
    label: str
    start: Callable[[Path, int], AbstractContextManager[Running]]
    dialect: Dialect = field(default_factory=Dialect)
    heavy: bool = False  # takes ten times as long as the others: fewer passes tell as much of it


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], folder: Path, port: int) -> Iterator[Running]:
    """A server that takes its port as an argument, from when it listens to its end."""
    log = folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(child, port, log)
        yield Running(port, {"server": child.pid})
    finally:
        child.kill()
        child.wait()


def _wait(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        if child.poll() is not None:
            raise Unavailable(f"does not start: {_last_line(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise Unavailable(f"does not listen within {START:.0f} s") from None
            time.sleep(0.02)
        else:
            return


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it says nothing"
