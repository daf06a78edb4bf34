"""Tallycast as its operator runs it: one worker, and the embedded engine that syncs every write.

Owns how the server is started and which of its processes is which, and the messages of the contract that the
bench needs. An update is triggered by a real reaction, stored and acknowledged. Must not know what is
measured.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders.base import Contender, Dialect, Running
from tests.support.process import ServerProcess


def react(prefix: str) -> str:
    """A reaction to one of the items that are named so."""
    return f'{{"type":"react","item":"{prefix}-$I","reaction":"$R","ref":$N}}'


@contextmanager
def start(folder: Path, senders: int) -> Iterator[Running]:
    """A server on an empty store, and so many visitors."""
    with ServerProcess(folder) as server:
        server.start()
        port = int(server.url.rpartition(":")[2])
        engine = server.engine
        assert engine is not None
        processes = {"server": server.workers[0], "supervisor": server.pid, "engine": engine}
        yield Running(port, processes, [(_auth(token),) for token in _tokens(port, senders)])


def _auth(token: str) -> str:
    return json.dumps({"type": "auth", "token": token}, separators=(",", ":"))


def _tokens(port: int, count: int) -> Iterator[str]:
    """Tokens of new anonymous visitors."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(count):
        connection.request("POST", "/v1/visitors")
        yield json.loads(connection.getresponse().read())["token"]
    connection.close()


OURS = Contender(
    "ours",
    "Tallycast",
    start,
    Dialect(
        path="/ws?item=bench-$I",
        plain="/ws",
        protocol="tallycast.v1.json",
        ready='{"type":"counts"',
        trigger=react("bench"),
        reply='{"type":"ack"',
    ),
)
