"""A worker process: serves with the shared listener, the settings and the sites from its parent.

Owns the entry point of the process. Does not depend on other workers or on the embedded engine.

Usage, by the supervisor only: python -m tallycast.process.worker NUMBER LISTENER_FD [restarted]
"""

import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping

from tallycast.app import Host, run_worker
from tallycast.config import sites as sites_file
from tallycast.config.errors import StartError
from tallycast.domain.sites import Site
from tallycast.observability import logs
from tallycast.process import heap, ipc


def main(number: int, descriptor: int, *, restarted: bool) -> int:
    """Serve until SIGTERM; the exit status."""
    _raise_file_limit()
    parent = ipc.Parent()
    settings = ipc.settings_from_parent()
    logs.configure({"worker": number}, addresses=settings.log_addresses)

    def on_sites(update: Callable[[Mapping[str, Site]], None]) -> None:
        parent.on_reload(lambda text: update(sites_file.sites(text, str(settings.config))))

    with socket.socket(fileno=descriptor) as listener:
        try:
            # The parent has validated it.
            sites = sites_file.sites(parent.initial_sites(), str(settings.config))
            last = run_worker(
                settings,
                listener,
                sites,
                Host(ipc.send_ready, on_sites, parent.on_measure, ipc.send_measured, heap.trim_heap),
                restarted=restarted,
            )
        except StartError as error:
            ipc.send_failed(error)
            return 1
        ipc.send_measured(last)
    heap.skip_final_gc()
    return 0


def _raise_file_limit() -> None:
    """Raise the limit of open files: each connection is one, and the default is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    # Ctrl+C, reloading and replacing are for the parent. A SIGINT sent to this process ends it without a
    # traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), restarted=ipc.RESTARTED in sys.argv[3:]))
