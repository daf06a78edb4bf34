"""The table of the others: what a user would pick instead, and the floor under all.

Owns how each is started and spoken to. What they do is in the files beside this one, each a server of its own
that never shares a process with the bench.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import PAYLOAD, Contender, Dialect, Running, free_port, process
from bench.errors import Unavailable
from bench.programs import program


def _python(module: str, *needs: str) -> Callable[[Path, int], AbstractContextManager[Running]]:
    """Start a module of this folder, which needs these packages."""

    @contextmanager
    def start(folder: Path, _: int) -> Iterator[Running]:
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            raise Unavailable(f"{', '.join(missing)} is not installed")
        command: Sequence[str] = [sys.executable, "-m", f"bench.contenders.{module}"]
        with process(command, folder, free_port()) as running:
            yield running

    return start


@contextmanager
def _floor(folder: Path, _: int) -> Iterator[Running]:
    with process([str(program("floor"))], folder, free_port()) as running:
        yield running


FLOOR = Contender("floor", "bare C send() loop", _floor)
SOCKETIFY = Contender("socketify", "socketify (uWS)", _python("socketify_app", "socketify"))
PICOWS = Contender("picows", "picows", _python("picows_app", "picows"))
WEBSOCKETS = Contender("websockets", "websockets.broadcast", _python("websockets_broadcast", "websockets"))
STARLETTE = Contender("starlette", "Starlette on uvicorn", _python("starlette_loop", "uvicorn", "starlette"))

# Its own names and frames around the same fields; the event's name makes up for the type, to the byte.
_EVENT = PAYLOAD.replace('"type":"counts",', "")
SOCKETIO = Contender(
    "socketio",
    "python-socketio",
    _python("socketio_app", "socketio", "uvicorn"),
    Dialect(
        path="/socket.io/?EIO=4&transport=websocket&item=bench-$I",
        plain="/socket.io/?EIO=4&transport=websocket",
        hello=("40",),
        ready="40{",
        trigger=f'42["go","bench-$I",{_EVENT}]',
        match='42["newcounts"',
        size=len(f'42["newcounts",{_EVENT}]') + 1,
    ),
    heavy=True,
)

# What a reaction is compared with: the same bytes in, the same bytes out.
ECHO = replace(
    STARLETTE,
    label="echo, stock Starlette",
    dialect=Dialect(path="/echo", plain="/echo", reply='{"type":"react"'),
)

PEERS = (FLOOR, SOCKETIFY, PICOWS, WEBSOCKETS, STARLETTE, SOCKETIO)
