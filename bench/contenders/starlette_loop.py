"""A loop over the WebSockets of Starlette on uvicorn; ``/echo`` is the comparison for a reaction."""

import sys
from collections import defaultdict

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.contenders.common import run_uvicorn

groups: defaultdict[str, set[WebSocket]] = defaultdict(set)


async def watch(websocket: WebSocket) -> None:
    """Serve one connection."""
    await websocket.accept()
    group = groups[websocket.query_params.get("item", "")]
    group.add(websocket)
    try:
        while True:
            name, _, payload = (await websocket.receive_text()).partition("|")
            for member in tuple(groups[name]):
                await member.send_text(payload)
    except WebSocketDisconnect:
        pass
    finally:
        group.discard(websocket)


async def echo(websocket: WebSocket) -> None:
    """Send back every message."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/", watch), WebSocketRoute("/echo", echo)])
    run_uvicorn(app, ws=sys.argv[2] if len(sys.argv) > 2 else "websockets-sansio")
