"""Tallycast as its operator runs it: one worker or more, and the embedded engine that syncs every write.

Owns how the server is started and which of its processes is which, and the messages of the contract that the
bench needs. An update is triggered by a real reaction, stored and acknowledged. Must not know what is
measured.
"""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender, Dialect, Running
from server.load.private import SITES
from tests.support.process import ServerProcess


def react(prefix: str) -> str:
    """A reaction to one of the items that are named so."""
    return f'{{"type":"react","item":"{prefix}-$I","reaction":"$R","ref":$N}}'


CONNECTIONS = 100_000


def served_by(
    workers: int, *, code: Path | None = None
) -> Callable[[Path, int], AbstractContextManager[Running]]:
    """Start a server on an empty store, and so many visitors. ``code``: the folder of another tree's."""
    environment = {} if code is None else {"PYTHONPATH": str(code)}

    @contextmanager
    def start(folder: Path, senders: int) -> Iterator[Running]:
        flags = ["--workers", str(workers)]
        # What another tree does not know of, it does not limit.
        if code is None or (code / "server" / "rules" / "limits.py").exists():
            # A bench does in a second what a visitor may do in an hour.
            config = folder / "tallycast.toml"
            config.write_text(SITES)
            flags += ["--config", str(config), "--connections", str(CONNECTIONS)]
        with ServerProcess(folder, flags=flags, env=environment) as server:
            server.start()
            port = int(server.url.rpartition(":")[2])
            engine = server.engine
            assert engine is not None
            processes = {"supervisor": server.pid, "engine": engine}
            for number, pid in enumerate(server.workers):
                processes["server" if number == 0 else f"server {number + 1}"] = pid
            yield Running(port, processes, [(_auth(token),) for token in _tokens(port, senders)])

    return start


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
    served_by(1),
    Dialect(
        path="/ws?item=bench-$I",
        plain="/ws",
        protocol="tallycast.v1.json",
        ready='{"type":"counts"',
        trigger=react("bench"),
        reply='{"type":"ack"',
    ),
)

TWO_WORKERS = replace(OURS, key="two", label="2 workers", start=served_by(2))
