"""Asks the server that runs on this machine how it is, as a container's health check does.

Owns the request, by TCP or by the Unix socket, and the command ``tallycast health``. Does not depend on the
server itself, only on where it listens.
"""

import http.client
import socket
from typing import Annotated

import typer

from tallycast.config.hosts import to_reach, unix_path
from tallycast.config.settings import load
from tallycast.contract.errors import NotHealthy

TIMEOUT = 5.0

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast health[/cyan]
[dim]where TALLYCAST_HOST, TALLYCAST_PORT and PORT say that it listens[/dim]

[cyan]tallycast health --ready --host unix:/run/tallycast/tallycast.sock[/cyan]
[dim]on a Unix socket; whether a balancer should send clients[/dim]
"""

_READY = "Whether it takes reactions, too (/readyz), and not only runs (/livez)."
_HOST = "Where it listens, as given to serve; unset: as the environment says."


def health(
    ready: Annotated[bool, typer.Option("--ready", help=_READY)] = False,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help=_HOST)] = None,
    port: Annotated[str | None, typer.Option(metavar="NUMBER", help="The same of its port.")] = None,
) -> None:
    """Ask the server on this machine whether it is well: exit status 0, or 1 and a line that says why not."""
    settings = load(host=host, port=port)
    check(settings.host, settings.port, ready=ready)
    print("ready" if ready else "alive")


def check(host: str, port: int, *, ready: bool) -> None:
    """Return when the server answers that it is alive; ``ready``: that it takes reactions.

    Raises:
        NotHealthy: it does not; one line.
    """
    path = "/readyz" if ready else "/livez"
    place = host if unix_path(host) is not None else f"{to_reach(host)}, port {port}"
    connection = _Connection(host, port)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise NotHealthy(f"{place}: {reason.lower()}") from None
    finally:
        connection.close()
    if status != 200:
        raise NotHealthy(f"{place}: {path} is answered {status}")


class _Connection(http.client.HTTPConnection):
    """By TCP, or by a Unix socket."""

    def __init__(self, host: str, port: int) -> None:
        self._path = unix_path(host)
        super().__init__("localhost" if self._path else to_reach(host), port, timeout=TIMEOUT)

    def connect(self) -> None:
        """Connect."""
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
