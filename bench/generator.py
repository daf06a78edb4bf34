"""What the load-test harness itself costs: CPU for each update received, memory for each watcher.

Usage: python -m bench.generator [watchers] [rounds]. A child process brings every watcher the same frames,
round by round; beside it they are read by a loop that does nothing but ``recv``: the system's share.
"""

import asyncio
import base64
import hashlib
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage

import uvloop

from bench.usage import resident
from server.load.crowd import Crowd
from server.load.faults import Faults
from server.load.latency import Latencies
from server.load.machine import allow_files
from server.load.room import Room
from server.load.sightings import Carried, Sightings
from server.load.speech import SPEECHES
from server.load.target import Target
from server.load.watcher import Watcher
from server.protocol.frames import TEXT, frame
from server.protocol.messages import Counts, Watching

ITEM = "load/0a1b2c3d/0"
FIRST = 1_767_225_600_000_000
PAUSE = 0.05  # between two rounds
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def update(number: int) -> bytes:
    """The frame of a round."""
    return frame(
        TEXT, SPEECHES["json"].say(Counts(ITEM, FIRST + number * 1000, {"like": number, "dislike": 1}))
    )


def serve(listener: socket.socket, watchers: int, rounds: int, greet: bool, go: int) -> None:
    """The child: take all connections, then bring the frames."""
    connections = []
    for _ in range(watchers):
        connection, _ = listener.accept()
        if greet:
            head = connection.recv(4096)
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key.split(b": ")[1] + GUID).digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Protocol: tallycast.v1.json\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            connection.recv(4096)
            connection.sendall(update(0) + frame(TEXT, SPEECHES["json"].say(Watching(1))))
        connections.append(connection)
    os.read(go, 1)
    for number in range(1, rounds + 1):
        ready = update(number)
        for connection in connections:
            connection.send(ready)
        time.sleep(PAUSE)
    os.read(go, 1)


def spent() -> tuple[float, float]:
    """Seconds of CPU of this process: its own code's, the system's."""
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


def bare(
    listener: socket.socket, watchers: int, rounds: int, start: Callable[[], None]
) -> tuple[float, float]:
    """Read everything, and nothing else."""
    address, poll = listener.getsockname(), select.epoll()
    sockets = {}
    for _ in range(watchers):
        one = socket.create_connection(address)
        one.setblocking(False)
        sockets[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)
    buffer, left = bytearray(65536), watchers * rounds * len(update(1))
    start()
    before = spent()
    while left > 0:
        for descriptor, _ in poll.poll(1, 4096):
            left -= sockets[descriptor].recv_into(buffer)
    after = spent()
    return after[0] - before[0], after[1] - before[1]


async def harness(
    listener: socket.socket, watchers: int, rounds: int, start: Callable[[], None]
) -> tuple[float, float, float]:
    """Read everything as a process of the harness does, latencies included; and the memory of a watcher."""
    latencies, faults = Latencies(), Faults()
    sightings = Sightings(lambda _stage, ns, weight: latencies.record(ns, weight), lambda: None)
    target = Target.parse(f"http://127.0.0.1:{listener.getsockname()[1]}")
    crowd = Crowd(target, [], faults, lambda _reader, _took: None, lambda _reader: None)
    room = Room(
        uri=target.websocket("default"),
        site="default",
        speech=SPEECHES["json"],
        items=[ITEM],
        sightings=sightings,
        faults=faults,
        ready=crowd.arrived,
        ended=crowd.ended,
        acked=lambda _reader, _ack: None,
        refused=lambda _reader, _error: None,
    )
    before = resident(os.getpid())
    crowd.add(Watcher(room, number, [0], None, False) for number in range(watchers))
    await crowd.open_all(time.monotonic_ns(), 2000.0)
    while crowd.up < watchers:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.05)
    memory = (resident(os.getpid()) - before) / watchers
    begun = time.monotonic_ns()
    for number in range(1, rounds + 1):
        sightings.learn(0, Carried(FIRST + number * 1000, begun, -1, 1))
    start()
    used = spent()
    while sightings.updates < watchers * rounds:
        await asyncio.sleep(0.1)
        moment = time.monotonic_ns()
        for seen in sightings.settle(moment, moment):
            room.forget(seen)
    after = spent()
    assert not faults.found, faults.found
    return after[0] - used[0], after[1] - used[1], memory


def main(watchers: int = 2000, rounds: int = 100) -> None:
    """Measure both, print them."""
    allow_files(watchers + 100)
    updates = watchers * rounds
    for name in ("bare", "harness"):
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            serve(listener, watchers, rounds, name == "harness", ready)
            os._exit(0)

        def start(go: int = go) -> None:
            os.write(go, b"1")

        if name == "bare":
            own, system = bare(listener, watchers, rounds, start)
            print(
                f"nothing but recv: {own / updates * 1e6:.2f} µs own + {system / updates * 1e6:.2f} µs system"
            )
        else:
            own, system, memory = uvloop.run(harness(listener, watchers, rounds, start))
            print(
                f"the harness:      {own / updates * 1e6:.2f} µs own + {system / updates * 1e6:.2f} µs system"
            )
            print(f"a watcher:        {memory / 1024:.2f} KiB")
        os.write(go, b"1")
        os.waitpid(child, 0)
        listener.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
