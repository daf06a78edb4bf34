"""A cluster of real engines: primaries with a replica each, on this machine, nothing kept.

Everything is done by commands, because where the tests run there may be no ``valkey-cli``.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot
from tallycast.engine.embedded import launch

from tests.support.engine import engine_program, has_started
from tests.support.processes import is_alive
from tests.support.waiting import wait_for

SLOTS = 16384
# How long (ms) a node must be silent to be taken for dead by the others.
NODE_TIMEOUT = 1500
# The bus has the port after the clients', which is far from where the system picks those of connections.
PORTS = range(20_000, 32_000, 2)


class Node:
    """One engine of the cluster."""

    def __init__(self, folder: Path, port: int, product: str) -> None:
        self.port = port
        folder.mkdir()
        # Through the launcher, so that it does not outlive a test run that was killed.
        # fmt: off
        self._command: list[str | Path] = [
            sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), engine_program(product, folder),
            "--port", str(port), "--cluster-port", str(port + 1), "--bind", "127.0.0.1", "--dir", folder,
            "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT),
            "--cluster-replica-validity-factor", "0", "--cluster-require-full-coverage", "no",
            "--repl-diskless-sync-delay", "0", "--save", "", "--appendonly", "no",
            "--maxmemory-policy", "noeviction", "--logfile", folder / "log",
        ]
        # fmt: on
        self.start()
        self.client = Redis(port=port, socket_timeout=10)

    def start(self) -> None:
        """Start it, for the first time or after its death; then it has no data, but knows the cluster."""
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    @property
    def id(self) -> str:
        return str(self.do("CLUSTER", "MYID"))

    def do(self, *words: Any) -> Any:
        """Run a command; text as text."""
        reply = self.client.execute_command(*words)
        return reply.decode() if isinstance(reply, bytes) else reply

    def info(self, section: str) -> dict[str, Any]:
        return dict(self.client.info(section))

    def kill(self) -> None:
        """As a machine that is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stand still, without a word."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class Cluster:
    """``primaries`` as they were at the start, each with its replica in ``replicas``."""

    def __init__(self, primaries: list[Node], replicas: list[Node]) -> None:
        self.primaries = primaries
        self.replicas = replicas

    @property
    def nodes(self) -> list[Node]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.primaries[0].port}?cluster=true"

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes if is_alive(node.process.pid)]

    def form(self) -> None:
        """Make one cluster of the nodes, with the slots spread evenly."""
        first = self.primaries[0]
        for node in self.nodes[1:]:
            node.do("CLUSTER", "MEET", "127.0.0.1", first.port, first.port + 1)
        bounds = [SLOTS * part // len(self.primaries) for part in range(len(self.primaries) + 1)]
        for node, (start, end) in zip(self.primaries, pairwise(bounds), strict=True):
            node.do("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
        wait_for(lambda: all(self._knows_all(node) for node in self.nodes), "a cluster that knows itself", 30)
        for primary, replica in zip(self.primaries, self.replicas, strict=True):
            replica.do("CLUSTER", "REPLICATE", primary.id)
        wait_for(self.in_sync, "replicas that follow", 30)

    def in_sync(self) -> bool:
        """Whether every replica that lives follows its primary."""
        links = (node.info("replication").get("master_link_status") for node in self.replicas)
        return all(link == "up" for link in links) and all(
            "cluster_state:ok" in str(node.do("CLUSTER", "INFO")) for node in self.nodes
        )

    def owner(self, key: bytes) -> Node:
        """The node that a key is on now, as the living nodes say."""
        slot = key_slot(key)
        for node in self.alive:
            for start, end, holder, *_ in node.client.execute_command("CLUSTER SLOTS"):
                if start <= slot <= end:
                    owner = next(one for one in self.nodes if one.port == holder[1])
                    if owner in self.alive:
                        return owner
        raise AssertionError(f"no node alive has slot {slot}")

    def replica_of(self, primary: Node) -> Node:
        return self.replicas[self.primaries.index(primary)]

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """From here on keys of the slot may be on either."""
        # Replicas must confirm that first, for which they have 2 s unless told otherwise.
        target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id, "TIMEOUT", 9000)
        source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id, "TIMEOUT", 9000)

    def move_keys(self, slot: int, source: Node, target: Node, most: int = 1_000_000) -> int:
        """Move keys of the slot, one at a time; how many."""
        moved = 0
        while moved < most and (keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1)):
            source.do("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            moved += 1
        return moved

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        """The slot is the target's."""
        for node in (target, source, *self.alive):
            if node.info("replication")["role"] == "master":
                node.do("CLUSTER", "SETSLOT", slot, "NODE", target.id, "TIMEOUT", 9000)

    def move(self, slot: int, target: Node) -> None:
        """Reshard one slot as ``valkey-cli --cluster reshard`` does it."""
        source = next(
            node
            for node in self.primaries
            for start, end, holder, *_ in node.client.execute_command("CLUSTER SLOTS")
            if start <= slot <= end and holder[1] == node.port
        )
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def _knows_all(self, node: Node) -> bool:
        info = str(node.do("CLUSTER", "INFO"))
        return f"cluster_known_nodes:{len(self.nodes)}" in info and "cluster_state:ok" in info


@contextmanager
def cluster(primaries: int = 3, product: str = "valkey") -> Iterator[Cluster]:
    """A cluster that runs as long as the context."""
    folder = Path(tempfile.mkdtemp(prefix="tallycast-cluster-"))
    nodes: list[Node] = []
    try:
        for number in range(2 * primaries):
            nodes.append(_start(folder, number, product))
        found = Cluster(nodes[:primaries], nodes[primaries:])
        found.form()
        yield found
    finally:
        for node in nodes:
            node.client.close()
            node.kill()
        shutil.rmtree(folder)


def _start(folder: Path, number: int, product: str) -> Node:
    """A node on two free ports."""
    for port in free_ports(number):
        if is_free(port + 1):
            node = Node(folder / f"{number}-{port}", port, product)
            if has_started(node.process, node.client):
                return node
    raise AssertionError("no free ports")


def free_ports(number: int) -> Iterator[int]:
    """Ports that are free just now, for the node of that number."""
    # Different test processes begin to look in different places.
    start = os.getpid() * 97 % len(PORTS)
    for offset in range(len(PORTS)):
        port = PORTS[(start + number + offset) % len(PORTS)]
        if is_free(port):
            yield port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
