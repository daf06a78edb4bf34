"""The interface of a contender: how it is started, and which messages it takes.

Owns the start and end of a contender's process. Does not depend on what is measured.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UnavailableError

START_TIMEOUT = 20.0  # s

# What every contender delivers: the same text, and as long, as an update of Tallycast.
PAYLOAD = '{"type":"counts","item":"bench-$I","version":1767225600000000,"counts":{"like":1,"dislike":0}}'
# $I becomes three digits.
PAYLOAD_SIZE = len(PAYLOAD) + 1


@dataclass(frozen=True)
class Dialect:
    """The messages of a contender. ``$I`` in them is the number of an item."""

    path: str = "/?item=bench-$I"  # of a connection that watches an item
    plain_path: str = "/"  # of one that watches nothing
    protocol: str | None = None
    first_messages: tuple[str, ...] = ()  # that every connection sends
    ready: str | None = None  # prefix of the reply to them
    trigger: str = "bench-$I|" + PAYLOAD  # makes it send an update to all watchers of the item
    update: str = '{"type":"counts"'  # prefix of such an update
    update_size: int = PAYLOAD_SIZE  # bytes
    reply: str | None = None  # prefix of the reply to the trigger, if there is one


@dataclass(frozen=True)
class Running:
    """A contender that runs. ``first_messages``: what its senders send first, one entry a sender."""

    port: int
    # Process ids: "server", with more workers also "server 2" and so on; Tallycast's "supervisor" and
    # "engine".
    processes: dict[str, int]
    first_messages: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Contender:
    """A server that is measured.

    ``start`` takes a folder of its own and the number of senders, and raises ``UnavailableError`` where the
    contender cannot run.
    """

    key: str
    label: str
    start: Callable[[Path, int], AbstractContextManager[Running]]
    dialect: Dialect = field(default_factory=Dialect)
    heavy: bool = False  # takes ten times as long as the others: one pass instead of several


def free_port() -> int:
    """Return a local port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], folder: Path, port: int) -> Iterator[Running]:
    """Run a server that takes its port as an argument, from when it listens."""
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
        _wait_until_listening(child, port, log)
        yield Running(port, {"server": child.pid})
    finally:
        child.kill()
        child.wait()


def _wait_until_listening(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        if child.poll() is not None:
            raise UnavailableError(f"does not start: {_last_line(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise UnavailableError(f"does not listen within {START_TIMEOUT:.0f} s") from None
            time.sleep(0.02)
        else:
            return


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"
