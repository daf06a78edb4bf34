"""A primary and its replica without a cluster, as managed services run them, nothing kept."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from tallycast.engine.embedded import launch
from tallycast.engine.embedded.server import find_binary

from tests.support.cluster import free_ports
from tests.support.engine import has_started
from tests.support.waiting import wait_for


class Member:
    """An engine that listens on an address of this machine."""

    def __init__(self, folder: Path, port: int, address: str) -> None:
        folder.mkdir()
        self.port = port
        self.url = f"redis://{address}:{port}"
        # Through the launcher, so that it does not outlive a test run that was killed.
        # fmt: off
        self.process = subprocess.Popen(
            [
                sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), find_binary(),
                "--port", str(port), "--bind", address, "--dir", folder, "--save", "", "--appendonly", "no",
                "--repl-diskless-sync-delay", "0", "--maxmemory-policy",
                "noeviction", "--logfile", folder / "log",
            ],
            stdin=subprocess.DEVNULL,
        )
        # fmt: on
        self.client = Redis(host=address, port=port, socket_timeout=10)

    def do(self, *words: Any) -> Any:
        """Run a command."""
        return self.client.execute_command(*words)

    def info(self) -> dict[str, Any]:
        return dict(self.client.info("replication"))

    def subscribers(self, channel: bytes) -> int:
        """How many connections follow a channel here."""
        return int(dict(self.client.pubsub_numsub(channel))[channel])

    def connections(self) -> int:
        """How many connections it has beside this one."""
        return len(self.client.client_list()) - 1

    def close(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


class Pair:
    """``primary`` and ``replica``, as they are now."""

    def __init__(self, primary: Member, replica: Member) -> None:
        self.primary, self.replica = primary, replica
        replica.do("REPLICAOF", "127.0.0.1", primary.port)
        self.wait_in_sync()

    def wait_in_sync(self) -> None:
        """Wait until the replica follows."""
        wait_for(lambda: self.replica.info().get("master_link_status") == "up", "a replica that follows")

    def fail_over(self) -> None:
        """Demote the primary, promote the replica: nothing is lost, and no connection is closed."""
        self.primary.do("FAILOVER")
        wait_for(lambda: self.replica.info()["role"] == "master", "a promotion")
        self.primary, self.replica = self.replica, self.primary
        self.wait_in_sync()


@contextmanager
def pair() -> Iterator[Pair]:
    """A pair that runs as long as the context."""
    with members("127.0.0.1", "127.0.0.1") as (first, second):
        yield Pair(first, second)


@contextmanager
def members(*addresses: str) -> Iterator[list[Member]]:
    """Engines that know nothing of one another; those on different addresses have the same port."""
    folder = Path(tempfile.mkdtemp(prefix="tallycast-pair-"))
    found: list[Member] = []
    try:
        for number, address in enumerate(addresses):
            same = found and address != addresses[0]
            ports = iter([found[0].port]) if same else free_ports(number)
            found.append(_start(folder / f"{number}", ports, address))
        yield found
    finally:
        for member in found:
            member.close()
        shutil.rmtree(folder)


def _start(folder: Path, ports: Iterator[int], address: str) -> Member:
    for port in ports:
        member = Member(folder.with_name(f"{folder.name}-{port}"), port, address)
        if has_started(member.process, member.client):
            return member
        member.close()
    raise AssertionError("no free port")
