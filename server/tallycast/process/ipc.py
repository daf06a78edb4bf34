"""The line between the parent process and one worker: a socket pair that is the worker's standard input.

Owns how a worker is told its settings and its sites, how it says that it serves or cannot, and how each side
learns that the other is gone: the line ends. And how the parent asks for a worker's numbers. Must not know
what a worker does or when one is started.

The settings are in the environment. The sites come over the line, because they may change: first those of the
start, later whatever is read anew, each as one line.
"""

import json
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import msgspec

from tallycast.config.settings import Settings, unpack
from tallycast.contract.errors import StartError
from tallycast.observability.measures import Snapshot

SETTINGS = "TALLYCAST_WORKER_SETTINGS"
# The last word of a worker's command line where another has served in its place before.
RESTARTED = "restarted"
READY = b"ready"
FAILED = b"failed "
MEASURED = b"measured "
# To a worker; anything else is its sites.
MEASURE = b"measure\n"

_PARENT = 0


class Parent:
    """The parent, as a worker hears it."""

    def __init__(self) -> None:
        self._first: SimpleQueue[str | None] = SimpleQueue()
        self._later: SimpleQueue[str | None] = SimpleQueue()
        self._measure: Callable[[], None] = lambda: None
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def first(self) -> str | None:
        """The text of the sites file at the start, waited for; ``None``: there is no file."""
        return self._first.get()

    def then(self, heard: Callable[[str | None], None]) -> None:
        """Call ``heard``, in a thread of its own, with each text that comes after the first."""

        def hear() -> None:
            while True:
                heard(self._later.get())

        threading.Thread(target=hear, name="sites", daemon=True).start()

    def when_asked(self, measure: Callable[[], None]) -> None:
        """Call ``measure``, in another thread, when the parent wants to hear the worker's numbers.

        It asks nobody who has not said ``ready``.
        """
        self._measure = measure

    def _listen(self) -> None:
        """From here on this process ends at once when its parent does, however that came about."""
        queue = self._first
        try:
            with open(_PARENT, "rb", closefd=False) as lines:
                for line in lines:
                    if line == MEASURE:
                        self._measure()
                        continue
                    queue.put(json.loads(line))
                    queue = self._later
        except (OSError, ValueError):
            pass  # a parent that dies in the middle of a line
        # Nobody waits for this process any more, and a clean shutdown could take long: its port and
        # connections must be free for the successor. What was acknowledged is in the engine.
        os._exit(1)


def settings_from_parent() -> Settings:
    """The settings of this worker process; taken out of the environment, so that no child inherits them."""
    return unpack(os.environ.pop(SETTINGS))


def sites_line(text: str | None) -> bytes:
    """The line that tells a worker what the sites file says."""
    return json.dumps(text).encode() + b"\n"


def say_ready() -> None:
    """Tell the parent that connections are being accepted."""
    _say(READY)


def say_failed(error: StartError) -> None:
    """Tell the parent why this worker cannot serve."""
    _say(FAILED + " ".join(str(error).split()).encode())


def say_measured(snapshot: Snapshot) -> None:
    """Tell the parent the worker's numbers, asked or at the end."""
    _say(MEASURED + msgspec.json.encode(snapshot))


def measured(line: bytes) -> Snapshot:
    """The numbers in a worker's line that begins with ``MEASURED``."""
    return msgspec.json.decode(line.removeprefix(MEASURED), type=Snapshot)


def _say(line: bytes) -> None:
    try:
        os.write(_PARENT, line + b"\n")
    except OSError:
        pass  # The parent is gone, and soon so is this process.
