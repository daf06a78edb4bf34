"""The health check of the server on this machine, as a container platform runs it.

Owns the request, over TCP or the Unix socket. Does not depend on the server itself, only on where it listens.
"""

import http.client
import socket

from tallycast.config.hosts import to_reach, unix_path
from tallycast.contract.errors import TallycastError

TIMEOUT = 5.0  # seconds


class NotHealthy(TallycastError):  # noqa: N818  an answer, not a failure
    """A health check failed. ``str(error)`` is one line for the operator."""


def check(host: str, port: int, *, ready: bool) -> None:
    """Return when the server is alive; ``ready``: when it accepts reactions.

    Raises:
        NotHealthy: it is not; one line with the reason.
    """
    path = "/readyz" if ready else "/livez"
    address = host if unix_path(host) is not None else f"{to_reach(host)}, port {port}"
    connection = _Connection(host, port)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise NotHealthy(f"{address}: {reason.lower()}") from None
    finally:
        connection.close()
    if status != 200:
        raise NotHealthy(f"{address}: {path} answered {status}")


class _Connection(http.client.HTTPConnection):
    """A connection over TCP or a Unix socket."""

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
