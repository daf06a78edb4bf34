"""The table of the peers: what a user would pick instead, and the bare send() loop as a lower bound.

Owns how each is started, and its messages. The modules beside this one are the servers, each a process of
its own.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import PAYLOAD, Contender, Dialect, Running, free_port, process
from bench.errors import UnavailableError
from bench.programs import program


def python_module(module: str, *needs: str) -> Callable[[Path, int], AbstractContextManager[Running]]:
    """Return the start of a module of this folder that needs these packages."""

    @contextmanager
    def start(folder: Path, _: int) -> Iterator[Running]:
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            raise UnavailableError(f"{', '.join(missing)} is not installed")
        command: Sequence[str] = [sys.executable, "-m", f"bench.contenders.{module}"]
        with process(command, folder, free_port()) as running:
            yield running

    return start


@contextmanager
def _send_loop(folder: Path, _: int) -> Iterator[Running]:
    with process([str(program("send_loop"))], folder, free_port()) as running:
        yield running


SEND_LOOP = Contender("floor", "bare C send() loop", _send_loop)
SOCKETIFY = Contender("socketify", "socketify (uWS)", python_module("socketify_app", "socketify"))
PICOWS = Contender("picows", "picows", python_module("picows_app", "picows"))
WEBSOCKETS = Contender(
    "websockets", "websockets.broadcast", python_module("websockets_broadcast", "websockets")
)
STARLETTE = Contender(
    "starlette", "Starlette on uvicorn", python_module("starlette_loop", "uvicorn", "starlette")
)

# The same fields in its own envelope; the event's name is as long as the type that it replaces.
_EVENT = PAYLOAD.replace('"type":"counts",', "")
SOCKETIO = Contender(
    "socketio",
    "python-socketio",
    python_module("socketio_app", "socketio", "uvicorn"),
    Dialect(
        path="/socket.io/?EIO=4&transport=websocket&item=bench-$I",
        plain_path="/socket.io/?EIO=4&transport=websocket",
        first_messages=("40",),
        ready="40{",
        trigger=f'42["go","bench-$I",{_EVENT}]',
        update='42["newcounts"',
        update_size=len(f'42["newcounts",{_EVENT}]') + 1,
    ),
    heavy=True,
)

# The comparison for a reaction: it sends back the bytes that it receives.
ECHO = replace(
    STARLETTE,
    label="echo, stock Starlette",
    dialect=Dialect(path="/echo", plain_path="/echo", reply='{"type":"react"'),
)

PEERS = (SEND_LOOP, SOCKETIFY, PICOWS, WEBSOCKETS, STARLETTE, SOCKETIO)
