"""The one listening socket that all workers share: TCP or Unix.

Owns the address: how it is resolved, bound and shown. Does not depend on what accepts connections.

One socket is bound once, instead of one per worker with SO_REUSEPORT, because the kernel resets connections
that wait for a worker that ends.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

from tallycast.config.errors import StartError
from tallycast.config.hosts import to_reach
from tallycast.process import unix_socket
from tallycast.process.unix_socket import Owner, UnixListener

_Bound = TypeVar("_Bound")

# Connections that wait while every worker is busy, as when all clients reconnect after a restart. The kernel
# caps it at net.core.somaxconn.
BACKLOG = 4096
# How long (s) to retry an address in use: a worker of a killed predecessor may still be closing.
IN_USE_WAIT = 3.0
RETRY_INTERVAL = 0.05


async def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; connections wait in the backlog until a worker accepts them.

    Raises:
        StartError: the address cannot be used.
    """
    family, address = await _resolve(host, port)
    try:
        return await _retry_in_use(lambda: _bind(family, address))
    except OSError as error:
        raise StartError(refused(error, host, port)) from error


async def listen_at(path: str, mode: int, owner: Owner) -> UnixListener:
    """The same on a Unix socket.

    Raises:
        StartError: the path cannot be used.
    """
    try:
        return await _retry_in_use(lambda: UnixListener.bind_at(path, mode, owner))
    except OSError as error:
        raise unix_socket.refused(error, path) from error


async def _retry_in_use(bind: Callable[[], _Bound]) -> _Bound:
    deadline = time.monotonic() + IN_USE_WAIT
    while True:
        try:
            return bind()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(RETRY_INTERVAL)


def url(listener: socket.socket, path: str = "/") -> str:
    """The URL of a path for a browser on this machine; of a Unix socket, the value of ``--host``."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = to_reach(host)
    return f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether the listener can only be reached from this machine."""
    return listener.family == socket.AF_UNIX or ip_address(listener.getsockname()[0]).is_loopback


async def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(refused(error, host, port)) from error
    # IPv4 first: most clients try it first for a name with both, such as localhost.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, *_, address = found[0]
    return family, address


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" is every address of both families, whatever the system's default is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
        # Two sockets may bind one address with SO_REUSEADDR; only one may listen.
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def refused(error: OSError, host: str, port: int, flags: str = "--") -> str:
    """Why an address cannot be used, in one line; ``flags`` is the prefix of the flags that set it."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or choose another with {flags}port"
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"host {host} is not an address of this machine; use {flags}host 0.0.0.0 for all of its addresses"
        )
    if error.errno == errno.EACCES:
        return f"port {port} requires privileges: choose one above 1023 with {flags}port"
    if isinstance(error, socket.gaierror):
        return f"host {host}: {(error.strerror or str(error)).lower()}"
    return f"cannot listen on {host}, port {port}: {(error.strerror or str(error)).lower()}"
