"""The common part of the peers written in Python: their protocol, and uvicorn's fastest settings.

Owns the protocol of all peers: a connection joins the group named by ``item=`` in its path; a text message
``<group>|<payload>`` sends the payload to every connection of the group. Does not depend on how a peer sends.
"""

import sys
from typing import Any


def port() -> int:
    """Return the port to listen on, the first argument."""
    return int(sys.argv[1])


def group_of(path: str) -> str:
    """Return the group that a connection with this path joins; empty for none."""
    return path.partition("item=")[2]


def run_uvicorn(app: Any, ws: str) -> None:
    """Serve an ASGI application with everything off that costs CPU and is not needed."""
    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port(),
        loop="uvloop",
        http="httptools",
        ws=ws,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        backlog=4096,
    )
