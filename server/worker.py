"""A worker process: takes the shared listener and the settings from its parent, and serves.

Owns the entry of the process. Must not know of other workers or of the embedded engine.

Usage, by the supervisor only: python -m server.worker <number> <descriptor of the listener>
"""

import signal
import socket
import sys

from server import link, logs
from server.app import run_worker
from server.errors import StartError


def main(number: int, descriptor: int) -> int:
    """Serve until SIGTERM; the status is 0 after a clean end."""
    link.die_with_parent()
    logs.configure({"worker": number})
    settings = link.settings_from_parent()
    with socket.socket(fileno=descriptor) as listener:
        try:
            run_worker(settings, listener, link.say_ready)
        except StartError as error:
            link.say_failed(error)
            return 1
    return 0


if __name__ == "__main__":
    # Ctrl+C is the parent's; a SIGINT by hand is no reason for a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
