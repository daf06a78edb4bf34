"""Messages between the supervisor and one worker, over a socket pair that is the worker's standard input.

Owns their format: one line each. The supervisor sends the sites, first those of the start, later reloaded
ones, and requests for metrics; the worker answers that it is ready, has failed, or its metrics. Settings do
not change, and so are passed in the environment. The end of the stream is the end of the other process. Does
not depend on what a worker does or when one is started.
"""

import json
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import msgspec

from tallycast.config.errors import StartError
from tallycast.config.settings import Settings, unpack
from tallycast.observability.measures import Snapshot

SETTINGS = "TALLYCAST_WORKER_SETTINGS"
# The last argument of a worker that replaces one that was ready.
RESTARTED = "restarted"
READY = b"ready"
FAILED = b"failed "
MEASURED = b"measured "
# To a worker; any other line is its sites.
MEASURE = b"measure\n"

_PARENT = 0


class Parent:
    """The supervisor, as a worker sees it: a thread reads its messages."""

    def __init__(self) -> None:
        self._initial: SimpleQueue[str | None] = SimpleQueue()
        self._reloaded: SimpleQueue[str | None] = SimpleQueue()
        self._measure: Callable[[], None] = lambda: None
        threading.Thread(target=self._read, name="parent", daemon=True).start()

    def initial_sites(self) -> str | None:
        """Wait for the text of the sites file at the start; None: there is no file."""
        return self._initial.get()

    def on_reload(self, callback: Callable[[str | None], None]) -> None:
        """Call ``callback``, in a thread of its own, with each later text of the sites file."""

        def run() -> None:
            while True:
                callback(self._reloaded.get())

        threading.Thread(target=run, name="sites", daemon=True).start()

    def on_measure(self, measure: Callable[[], None]) -> None:
        """Call ``measure``, in another thread, when the supervisor requests the metrics.

        It requests them from workers that are ready only.
        """
        self._measure = measure

    def _read(self) -> None:
        """Read messages until the parent ends, then end this process at once."""
        queue = self._initial
        try:
            with open(_PARENT, "rb", closefd=False) as lines:
                for line in lines:
                    if line == MEASURE:
                        self._measure()
                        continue
                    queue.put(json.loads(line))
                    queue = self._reloaded
        except (OSError, ValueError):
            pass  # the parent died in the middle of a line
        # A clean shutdown could take long, and the port must be free for the successor. What was acknowledged
        # is in the engine.
        os._exit(1)


def settings_from_parent() -> Settings:
    """The settings of this worker; removed from the environment, so that no child inherits them."""
    return unpack(os.environ.pop(SETTINGS))


def sites_line(text: str | None) -> bytes:
    """The message with the text of the sites file."""
    return json.dumps(text).encode() + b"\n"


def send_ready() -> None:
    """Tell the parent that this worker accepts connections."""
    _send(READY)


def send_failed(error: StartError) -> None:
    """Tell the parent why this worker cannot start."""
    _send(FAILED + " ".join(str(error).split()).encode())


def send_measured(snapshot: Snapshot) -> None:
    """Send the metrics of this worker to the parent, on request or at the end."""
    _send(MEASURED + msgspec.json.encode(snapshot))


def measured(line: bytes) -> Snapshot:
    """The metrics in a line of a worker that begins with ``MEASURED``."""
    return msgspec.json.decode(line.removeprefix(MEASURED), type=Snapshot)


def _send(line: bytes) -> None:
    try:
        os.write(_PARENT, line + b"\n")
    except OSError:
        pass  # The parent has ended, and this process will.
