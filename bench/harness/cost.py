"""Measures the load-test harness: CPU time for each update received, memory for each watcher.

Owns one process of the harness, without the rest of a run, and a child process that sends frames to its
watchers in passes. In between a bare loop in C (``recv_loop.c``) receives such frames from the same
connections: that is the kernel's share, which no reader can avoid.

Usage: python -m bench.harness.cost <watchers> <passes>; prints JSON: ``memory`` in bytes a watcher; ``ours``
and ``bare`` with user and system CPU time in µs an update.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from resource import RUSAGE_SELF, getrusage

import uvloop
from tallycast.contract.codec import JSON
from tallycast.contract.messages import Counts, Watching
from tallycast_load.client.codec import CODECS
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import ConnectionContext
from tallycast_load.connections.pool import ConnectionPool
from tallycast_load.connections.websocket import WebSocketConnection
from tallycast_load.measure.latency import Latencies
from tallycast_load.measure.updates import AckedReaction, UpdateLatencies
from tallycast_load.measure.violations import Violations
from tallycast_load.processes.machine import allow_files

from bench.errors import InvalidMeasurementError
from bench.programs import program
from bench.usage import resident_memory

ITEM = "load/0a1b2c3d/0"
FIRST = 1_767_225_600_000_000
ROUNDS = 25  # a pass; one update each
PAUSE = 0.03  # s, between two rounds
TIMEOUT = 30.0  # s
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
MICRO = 1e6


def update(number: int) -> bytes:
    """Return the frame of a round; all have the same length."""
    counts = Counts(ITEM, FIRST + number * 1000, {"like": 100_000 + number, "dislike": 1})
    return JSON.frame(counts)


def serve(listener: socket.socket, watchers: int, start: int) -> None:
    """Accept all connections, then send a pass of frames for every byte read from ``start``."""
    connections = []
    for _ in range(watchers):
        connection, _ = listener.accept()
        head = connection.recv(4096)
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.split(b": ")[1] + GUID).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: tallycast.v1.json\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        connection.recv(4096)
        connection.sendall(update(0) + JSON.frame(Watching(1)))
        connections.append(connection)
    number = 0
    while os.read(start, 1):
        for _ in range(ROUNDS):
            number += 1
            prepared = update(number)
            for connection in connections:
                connection.send(prepared)
            time.sleep(PAUSE)


class HarnessProcess:
    """The watchers of one process of the harness. A byte to ``start`` makes the child send a pass."""

    def __init__(self, port: int, watchers: int, start: int) -> None:
        self._watchers = watchers
        self._start = start
        self._violations = Violations()
        latencies = Latencies()
        self._update_latencies = UpdateLatencies(
            lambda _stage, ns, weight: latencies.record(ns, weight), lambda: None
        )
        target = Target.parse(f"http://127.0.0.1:{port}")
        self._pool = ConnectionPool(
            target, [], self._violations, lambda _reader, _took: None, lambda _reader, _wanted: None
        )
        self._context = ConnectionContext(
            uri=target.websocket("default"),
            site="default",
            codec=CODECS["json"],
            items=[ITEM],
            update_latencies=self._update_latencies,
            violations=self._violations,
            on_ready=self._pool.on_ready,
            on_lost=self._pool.on_lost,
            on_ack=lambda _reader, _ack: None,
            on_error=lambda _reader, _error: None,
        )
        self._rounds = 0

    async def open(self) -> float:
        """Open all connections, and return the memory of each in bytes."""
        before = resident_memory(os.getpid())
        self._pool.add(
            WebSocketConnection(self._context, number, [0], None, False) for number in range(self._watchers)
        )
        await self._pool.open_all(time.monotonic_ns(), 2000.0)
        async with asyncio.timeout(TIMEOUT):
            while self._pool.up < self._watchers:  # noqa: ASYNC110  there is no event
                await asyncio.sleep(0.05)
        return (resident_memory(os.getpid()) - before) / self._watchers

    async def receive(self) -> tuple[float, float]:
        """Receive a pass as the harness does, latencies included. Returns user and system µs an update."""
        before, wanted = getrusage(RUSAGE_SELF), self._update_latencies.updates + ROUNDS * self._watchers
        begun = time.monotonic_ns()
        for number in range(self._rounds + 1, self._rounds + ROUNDS + 1):
            self._update_latencies.add_reaction(AckedReaction(0, FIRST + number * 1000, begun, -1, 1))
        self._next()
        async with asyncio.timeout(TIMEOUT):
            while self._update_latencies.updates < wanted:
                await asyncio.sleep(0.1)
                moment = time.monotonic_ns()
                for update_seen in self._update_latencies.record_until(moment, moment):
                    self._context.forget(update_seen)
        after = getrusage(RUSAGE_SELF)
        if self._violations.found or self._update_latencies.updates != wanted:
            raise InvalidMeasurementError(
                f"{self._update_latencies.updates - wanted} updates too many; {self._violations.found}"
            )
        return self._each(after.ru_utime - before.ru_utime), self._each(after.ru_stime - before.ru_stime)

    def receive_bare(self) -> tuple[float, float]:
        """Receive a pass with the bare loop. Returns user and system µs an update."""
        transports = [
            connection.transport for connection in self._pool.connections.values() if connection.transport
        ]
        descriptors = [transport.get_extra_info("socket").fileno() for transport in transports]
        for transport in transports:
            transport.pause_reading()
        command = [str(program("recv_loop")), str(ROUNDS * self._watchers * len(update(1)))]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors, text=True
        ) as loop:
            assert loop.stdin is not None
            assert loop.stdout is not None
            loop.stdin.write("\n".join(map(str, descriptors)))
            loop.stdin.close()
            loop.stdout.readline()
            self._next()
            output = loop.stdout.read().split()
        if loop.returncode:
            raise InvalidMeasurementError("the recv() loop failed")
        for transport in transports:
            transport.resume_reading()
        user, system = (int(microseconds) / MICRO for microseconds in output)
        return self._each(user), self._each(system)

    def _next(self) -> None:
        os.write(self._start, b"1")
        self._rounds += ROUNDS

    def _each(self, seconds: float) -> float:
        return seconds * MICRO / (ROUNDS * self._watchers)


async def measure(port: int, watchers: int, passes: int, start: int) -> dict[str, object]:
    """Measure both in turn. A first pass of the harness warms up."""
    harness = HarnessProcess(port, watchers, start)
    memory = await harness.open()
    await harness.receive()
    ours, bare = [], []
    for _ in range(passes):
        ours.append(await harness.receive())
        bare.append(harness.receive_bare())
    return {"memory": memory, "ours": _mean(ours), "bare": _mean(bare)}


def _mean(passes: list[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(sum(values) / len(passes) for values in zip(*passes, strict=True))


def main(watchers: int, passes: int) -> None:
    """Measure, and print the result."""
    allow_files(watchers + 100)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    started, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(start)
        serve(listener, watchers, started)
        os._exit(0)
    os.close(started)
    listener.close()
    print(json.dumps(uvloop.run(measure(port, watchers, passes, start))))
    os.close(start)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
