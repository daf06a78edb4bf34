"""The ASGI server of python-socketio on uvicorn: the WebSocket transport only, one room for each group."""

import json
import sys

import socketio

from bench.contenders.common import run_uvicorn

server = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    http_compression=False,
    # The load generator does not reply to pings of Engine.IO.
    ping_interval=3600,
    # The fastest of the standard codecs for these payloads.
    json=json,
)


@server.event
async def connect(sid: str, environ: dict[str, str]) -> None:
    """Let a connection join its room."""
    item = environ["QUERY_STRING"].partition("item=")[2]
    if item:
        await server.enter_room(sid, item)


@server.event
async def go(_: str, room: str, payload: object) -> None:
    """Send a payload to a room."""
    await server.emit("newcounts", payload, room=room)


if __name__ == "__main__":
    run_uvicorn(socketio.ASGIApp(server), ws=sys.argv[2] if len(sys.argv) > 2 else "websockets-sansio")
