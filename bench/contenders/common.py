"""What the peers written in Python share: how they are asked, and uvicorn's best settings.

Owns the tiny protocol of all peers: a connection joins the group named by ``item=`` in its path; a text
message ``<group>|<payload>`` sends the payload to every connection of the group. Must not know how a peer
sends.
"""

import sys
from typing import Any


def port() -> int:
    """The port to listen on, as the bench says."""
    return int(sys.argv[1])


def group_of(path: str) -> str:
    """The group that a connection with this path joins; empty for none."""
    return path.partition("item=")[2]


def run_uvicorn(app: Any, ws: str) -> None:
    """Serve an ASGI application with nothing switched on that costs something."""
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
