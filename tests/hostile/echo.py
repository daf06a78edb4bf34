"""The server's own sockets, and above them a session that echoes every message.

Usage, for clients from elsewhere: python -m tests.hostile.echo PORT
"""

import asyncio
import dataclasses
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import uvicorn
from tallycast.contract import frames
from tallycast.contract.errors import CloseCode
from tallycast.domain.sites import Site
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.timer_wheel import TimerWheel
from tallycast.transport.websocket import parser
from tallycast.transport.websocket.protocol import Socket

from tests.support.parts import Parts
from tests.support.waiting import wait_for

# The largest message of the cases; ours are smaller.
LARGEST = 1 << 20


class Echo:
    """In place of a session, and of its queue."""

    def __init__(self, line: Any, _site: Site, _wire: Any) -> None:
        self._line = line
        self.queue = self

    def open(self, _item: str | None) -> None:
        """Nothing is watched."""

    def received(self, payload: bytes, binary: bool) -> None:
        """Echo."""
        self._line.write(frames.frame(frames.BINARY if binary else frames.TEXT, payload))

    def count_frames(self, _frames: int) -> None:
        """Nothing is counted."""

    def on_tick(self) -> None:
        """Nothing is due."""

    def beat(self) -> None:
        """Nor is a beat."""

    def close_gracefully(self) -> None:
        """The end."""
        self._line.close(CloseCode.RESTART)

    def close(self) -> None:
        """The end."""


@contextmanager
def echoing(port: int = 0) -> Iterator[int]:
    """The port of a server that echoes; 0 picks a free one."""
    listener = socket.create_server(("127.0.0.1", port))
    with (
        patch.object(parser, "MAX_MESSAGE", LARGEST),
        listener,
    ):
        server, thread = _start(listener)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _start(listener: socket.socket) -> tuple[uvicorn.Server, threading.Thread]:
    made: list[uvicorn.Server] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        timers: TimerWheel[Any] = TimerWheel()
        nothing: Any = lambda *_: None  # noqa: E731
        parts = Parts(lambda: timers.now, timers=timers, flush_soon=loop.call_soon, soon=loop.call_soon)
        websockets: Any = dataclasses.replace(parts.websockets, open_session=Echo)  # type: ignore[arg-type]
        config = uvicorn.Config(
            nothing,
            interface="asgi3",
            http=partial(Http, HttpContext((), timers, 10.0, parts.admission)),  # type: ignore[arg-type]
            ws=partial(Socket, websockets),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
        )
        made.append(uvicorn.Server(config))
        await made[0].serve([listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    wait_for(lambda: made and made[0].started, "the echo server")
    return made[0], thread


if __name__ == "__main__":
    with echoing(int(sys.argv[1])):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
