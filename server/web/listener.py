"""The HTTP application, and uvicorn's settings for it and for the sockets."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from server.errors import Refusal
from server.rules.addresses import Networks
from server.web import pages
from server.web.api import Api
from server.web.http import Http
from server.web.origins import Origins
from server.web.problems import on_defect, on_http_exception, on_refusal
from server.web.rooms import Rooms
from server.web.socket import Socket

# What is under way gets this long (s) to end after the order to stop.
GRACE = 5
BACKLOG = 4096
# Bytes that are sent and not acknowledged for this long (ms) mean that the peer is gone (RFC 5482).
USER_TIMEOUT = 30_000
# The kernel takes no more than this much that it cannot send yet, so that old counts do not pile up in it.
NOT_SENT_LOW_WATER = 16 * 1024


def application(rooms: Rooms, *, demo: bool) -> Starlette:
    """The HTTP side: API and pages; ``demo``: the demo pages too."""
    app = Starlette(
        routes=[*Api(rooms).routes(), *pages.routes(demo=demo)],
        middleware=[Middleware(Origins, guard=rooms.guard)],
        exception_handlers={
            Refusal: on_refusal,
            HTTPException: on_http_exception,
            Exception: on_defect,
        },
    )
    # A redirect would lead to wherever the Host header says.
    app.router.redirect_slashes = False
    return app


def prepare(listener: socket.socket) -> None:
    """Set the options that accepted connections inherit from their listener."""
    for name, value in (("TCP_USER_TIMEOUT", USER_TIMEOUT), ("TCP_NOTSENT_LOWAT", NOT_SENT_LOW_WATER)):
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Server(uvicorn.Server):
    """Uvicorn's server, saying when it accepts connections."""

    def __init__(
        self, rooms: Rooms, on_ready: Callable[[], None], *, demo: bool, trusted: Networks = ()
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application(rooms, demo=demo),
                http=partial(Http, trusted),  # type: ignore[arg-type]
                # Ours, because uvicorn's takes the word of whoever is on the same machine.
                proxy_headers=False,
                ws=partial(Socket, rooms),  # type: ignore[arg-type]
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE,
            )
        )
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
