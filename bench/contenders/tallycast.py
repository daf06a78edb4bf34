"""Tallycast as a contender: workers, and the embedded engine that syncs every write.

Owns how the server is started, which of its processes is which, and the messages of the contract that the
bench needs. An update is triggered by a real reaction, stored and acknowledged. Does not depend on what is
measured.
"""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tallycast_load.coordinator.private_server import SITES

from bench.contenders.base import Contender, Dialect, Running
from tests.support.process import ServerProcess

CONNECTIONS = 100_000  # that the server accepts


def react(prefix: str) -> str:
    """Return the message that reacts to an item whose name begins with ``prefix``."""
    return f'{{"type":"react","item":"{prefix}-$I","reaction":"$R","ref":$N}}'


@dataclass(frozen=True)
class Tree:
    """A revision of the repository, unpacked in a folder."""

    folder: Path

    @property
    def package(self) -> str:
        """The name of the server's package: in newer revisions ``server`` is the folder around it."""
        return "tallycast" if (self.folder / "server" / "tallycast" / "__main__.py").exists() else "server"

    @property
    def path(self) -> str:
        """The PYTHONPATH to run it with."""
        if self.package == "server":
            return str(self.folder)
        return os.pathsep.join(str(self.folder / name) for name in ("server", "loadtest"))

    @property
    def has_limits(self) -> bool:
        """Whether it limits what clients do, and takes the flags that loosen the limits."""
        return self.package != "server" or (self.folder / "server" / "rules" / "limits.py").exists()


def served_by(
    workers: int, *, tree: Tree | None = None
) -> Callable[[Path, int], AbstractContextManager[Running]]:
    """Return the start of a server of this tree or another, on an empty store and with new visitors."""
    other: dict[str, Any] = (
        {} if tree is None else {"package": tree.package, "env": {"PYTHONPATH": tree.path}}
    )

    @contextmanager
    def start(folder: Path, senders: int) -> Iterator[Running]:
        flags = ["--workers", str(workers)]
        if tree is None or tree.has_limits:
            # A sender exceeds the limits of a visitor by far.
            config = folder / "tallycast.toml"
            config.write_text(SITES)
            flags += ["--config", str(config), "--connections", str(CONNECTIONS)]
        with ServerProcess(folder, flags=flags, **other) as server:
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
    """Create anonymous visitors, and return their tokens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(count):
        connection.request("POST", "/v1/visitors")
        yield json.loads(connection.getresponse().read())["token"]
    connection.close()


TALLYCAST = Contender(
    "ours",
    "Tallycast",
    served_by(1),
    Dialect(
        path="/ws?item=bench-$I",
        plain_path="/ws",
        protocol="tallycast.v1.json",
        ready='{"type":"counts"',
        trigger=react("bench"),
        reply='{"type":"ack"',
    ),
)

TWO_WORKERS = replace(TALLYCAST, key="two", label="2 workers", start=served_by(2))
