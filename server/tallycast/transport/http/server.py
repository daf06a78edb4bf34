"""Uvicorn's server: its settings for requests and sockets, and how it stops.

Owns the listener's options and the order of the shutdown. Does not depend on what is served.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from tallycast.transport.drain import Drain
from tallycast.transport.http.protocol import Http, HttpContext, MakeWebSocket

# At the shutdown an HTTP connection without a request is kept for this long (s), because its next request may
# be on its way already.
IDLE = 1.0
# The tasks of aborted connections get this long (s) to end.
ABORT_WITHIN = 0.2
POLL = 0.05
BACKLOG = 4096
# A peer that does not acknowledge bytes for this long (ms) is gone (RFC 5482).
USER_TIMEOUT = 30_000
# About as much as the kernel buffers before it is read: messages are small, and all bytes that were read at
# once are kept of a client that does not read its answers.
RECEIVE_BUFFER = 32 * 1024
# The kernel buffers no more unsent bytes than this, so that old counts do not pile up in it.
NOT_SENT_LOW_WATER = 16 * 1024


def prepare(listener: socket.socket) -> None:
    """Set the options that accepted connections inherit from their listener."""
    if listener.family == socket.AF_UNIX:
        return  # They are TCP's; stalled readers of a Unix socket are noticed by the timer.
    for name, value in (("TCP_USER_TIMEOUT", USER_TIMEOUT), ("TCP_NOTSENT_LOWAT", NOT_SENT_LOW_WATER)):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


class Server(uvicorn.Server):
    """Uvicorn's server, with a drain.

    Args:
        application: answers HTTP requests.
        websocket: makes the protocol of an upgraded connection.
        context: what HTTP connections share.
        drain: ends the long-lived connections.
        drain_within: how long (s) the connections have to end.
        on_ready: called when connections are accepted.
    """

    def __init__(
        self,
        application: ASGIApp,
        websocket: MakeWebSocket,
        context: HttpContext,
        drain: Drain,
        drain_within: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=partial(Http, context),  # type: ignore[arg-type]
                # Handled here, because uvicorn's trusts every process of the same machine.
                proxy_headers=False,
                ws=websocket,  # type: ignore[arg-type]
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
            )
        )
        self._drain = drain
        self._drain_within = drain_within
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down on SIGTERM and SIGINT.

        Uvicorn's own raises the signal again afterwards, which ends the process before the parts are closed.
        """
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and report it."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, drain, and abort the connections that are left."""
        until = time.monotonic() + self._drain_within
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        requests = cast("set[Http]", self.server_state.connections)
        for connection in tuple(requests):
            connection.shutdown()
        idle_until = min(time.monotonic() + IDLE, until)
        await self._drain.run(until)
        while requests and time.monotonic() < until:
            if time.monotonic() >= idle_until:
                for connection in tuple(requests):
                    if connection.is_idle:
                        connection.transport.close()
            await asyncio.sleep(POLL)
        for connection in tuple(requests):
            connection.transport.abort()
        tasks = self.server_state.tasks
        if tasks:
            # Those of the aborted connections.
            _, pending = await asyncio.wait(tasks, timeout=ABORT_WITHIN)
            for task in pending:
                task.cancel()
