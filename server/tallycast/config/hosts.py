"""Hosts to listen on: a host name, an IP address, or ``unix:`` and the path of a socket.

Does not depend on settings or sockets.
"""

import re

UNIX = "unix:"
# Linux's limit of a path in an address, without its final NUL (unix(7)).
MAX_PATH = 107


def check(host: str) -> str:
    """Return ``host`` when it is valid.

    Raises:
        ValueError: it is not.
    """
    path = unix_path(host)
    if path is None:
        valid = re.fullmatch(r"[\w.:%-]+", host) is not None
        host.encode("idna")  # as the resolver does: an empty or long label is a UnicodeError
    else:
        size = len(path.encode("utf-8", "surrogateescape"))
        valid = re.fullmatch(r"/[^\0]*[^\0/]", path) is not None and size <= MAX_PATH
    if not valid:
        raise ValueError("not a host")
    return host


def unix_path(host: str) -> str | None:
    """The path of a Unix socket; None: the host is not one."""
    return host.removeprefix(UNIX) if host.startswith(UNIX) else None


def to_reach(host: str) -> str:
    """The address at which a client on this machine reaches ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
