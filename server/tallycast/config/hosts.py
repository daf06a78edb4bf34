"""What a server listens on: a host name, an IP address, or ``unix:`` and the path of a socket.

Does not depend on settings or sockets.
"""

import re

UNIX = "unix:"
# Linux's limit of a path in an address, its final NUL aside (unix(7)).
MAX_PATH = 107


def check(host: str) -> str:
    """A host, as it was given.

    Raises:
        ValueError: it is none.
    """
    path = unix_path(host)
    if path is None:
        right = re.fullmatch(r"[\w.:%-]+", host) is not None
        host.encode("idna")  # as the resolver does: an empty label, or a long one, is a UnicodeError
    else:
        size = len(path.encode("utf-8", "surrogateescape"))
        right = re.fullmatch(r"/[^\0]*[^\0/]", path) is not None and size <= MAX_PATH
    if not right:
        raise ValueError("not a host")
    return host


def unix_path(host: str) -> str | None:
    """The path of the Unix socket, if it is one."""
    return host.removeprefix(UNIX) if host.startswith(UNIX) else None


def to_reach(host: str) -> str:
    """Where a client on this machine finds what listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
