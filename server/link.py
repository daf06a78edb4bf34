"""The line between the parent process and one worker: a socket pair that is the worker's standard input.

Owns how a worker is told its settings, how it says that it serves or cannot, and how each side learns that
the other is gone: the line ends. Must not know what a worker does or when one is started.
"""

import os
import threading

from server.errors import StartError
from server.settings import Settings, unpack

SETTINGS = "TALLYCAST_WORKER_SETTINGS"
READY = b"ready"
FAILED = b"failed "

_PARENT = 0


def settings_from_parent() -> Settings:
    """The settings of this worker process; taken out of the environment, so that no child inherits them."""
    return unpack(os.environ.pop(SETTINGS))


def die_with_parent() -> None:
    """From here on this process ends at once when its parent does, however that came about."""
    threading.Thread(target=_wait_for_the_end, name="parent", daemon=True).start()


def say_ready() -> None:
    """Tell the parent that connections are being accepted."""
    _say(READY)


def say_failed(error: StartError) -> None:
    """Tell the parent why this worker cannot serve."""
    _say(FAILED + " ".join(str(error).split()).encode())


def _say(line: bytes) -> None:
    try:
        os.write(_PARENT, line + b"\n")
    except OSError:
        pass  # The parent is gone, and soon so is this process.


def _wait_for_the_end() -> None:
    try:
        while os.read(_PARENT, 4096):
            pass
    except OSError:
        pass
    # Nobody waits for this process any more, and a clean shutdown could take long: its port and
    # connections must be free for the successor. What was acknowledged is in the engine.
    os._exit(1)
