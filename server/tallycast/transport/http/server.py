"""Uvicorn's server: its settings for requests and sockets, and how it stops."""

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

from tallycast.services.services import Rooms
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.websocket.protocol import Socket

# After the order to stop an HTTP connection without a request is kept for this long (s), because the next
# request may be on its way already.
IDLE = 1.0
# What was cut off gets this long (s) to find out.
CUT_OFF = 0.2
POLL = 0.05
BACKLOG = 4096
# Bytes that are sent and not acknowledged for this long (ms) mean that the peer is gone (RFC 5482).
USER_TIMEOUT = 30_000
# About as much as the kernel takes before it is read: messages are small, and of a client who does not take
# the answers all that was read at once is kept.
RECEIVE_BUFFER = 32 * 1024
# The kernel takes no more than this much that it cannot send yet, so that old counts do not pile up in it.
NOT_SENT_LOW_WATER = 16 * 1024


def prepare(listener: socket.socket) -> None:
    """Set the options that accepted connections inherit from their listener."""
    if listener.family == socket.AF_UNIX:
        return  # They are TCP's; a peer that does not read is on this machine, and timed by the rounds.
    for name, value in (("TCP_USER_TIMEOUT", USER_TIMEOUT), ("TCP_NOTSENT_LOWAT", NOT_SENT_LOW_WATER)):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


class Server(uvicorn.Server):
    """Uvicorn's server, saying when it accepts connections."""

    def __init__(
        self,
        application: ASGIApp,
        rooms: Rooms,
        on_ready: Callable[[], None],
        *,
        context: HttpContext,
        drain: float,
    ) -> None:
        """``drain`` is how long (s) the connections have to end after the order to stop."""
        super().__init__(
            uvicorn.Config(
                application,
                http=partial(Http, context),  # type: ignore[arg-type]
                # Ours, because uvicorn's takes the word of whoever is on the same machine.
                proxy_headers=False,
                ws=partial(Socket, rooms),  # type: ignore[arg-type]
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
            )
        )
        self._drain = rooms.drain
        self._drain_within = drain
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the order to stop.

        Uvicorn's own raises the signal again when it is done, which ends the process before the parts are
        closed.
        """
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, then say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept, let everyone finish and go, and cut off who has not in time."""
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
            # Those of the connections that were cut off.
            _, still = await asyncio.wait(tasks, timeout=CUT_OFF)
            for task in still:
                task.cancel()
