"""A worker process: takes the shared listener, the settings and the sites from its parent, and serves.

Owns the entry of the process. Must not know of other workers or of the embedded engine.

Usage, by the supervisor only: python -m tallycast.process.worker
<number> <descriptor of the listener> [restarted]
"""

import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping

from tallycast.app import run_worker
from tallycast.config import sites as sites_file
from tallycast.contract.errors import StartError
from tallycast.domain.sites import Site
from tallycast.observability import logs
from tallycast.process import heap, ipc


def main(number: int, descriptor: int, *, restarted: bool) -> int:
    """Serve until SIGTERM; the status is 0 after a clean end."""
    _raise_files()
    parent = ipc.Parent()
    settings = ipc.settings_from_parent()
    logs.configure({"worker": number}, addresses=settings.log_addresses)

    def on_sites(take: Callable[[Mapping[str, Site]], None]) -> None:
        parent.then(lambda text: take(sites_file.sites(text, str(settings.config))))

    with socket.socket(fileno=descriptor) as listener:
        try:
            # The parent has checked what it says.
            sites = sites_file.sites(parent.first(), str(settings.config))
            last = run_worker(
                settings,
                listener,
                ipc.say_ready,
                sites,
                on_sites,
                parent.when_asked,
                ipc.say_measured,
                heap.trim_heap,
                restarted=restarted,
            )
        except StartError as error:
            ipc.say_failed(error)
            return 1
        ipc.say_measured(last)
    heap.skip_final_gc()
    return 0


def _raise_files() -> None:
    """Every connection is an open file, and what a shell allows is often a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    # Ctrl+C is the parent's, and so are the orders to read the sites again and to replace the workers; a
    # SIGINT by hand is no reason for a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), restarted=ipc.RESTARTED in sys.argv[3:]))
