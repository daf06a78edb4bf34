"""Frames by the million, messages too large, readers that do not read: that connection ends, and no other."""

import json
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest
from tallycast.contract.errors import CloseCode
from tallycast.transport.http.protocol import SURPLUS
from tallycast.transport.liveness import CLOSE_WITHIN, STALL_AFTER
from tallycast.transport.websocket.parser import MAX_FRAGMENTS
from websockets.frames import Opcode

from tests.client.websocket import close_frame, connect, fragments, frame
from tests.hostile.cases import BINARY, CONT, PING, TEXT
from tests.hostile.watch import FULL, attack
from tests.support.process import ServerProcess
from tests.support.processes import clients, resident
from tests.support.waiting import eventually, wait_for

MIB = 2**20
SEED = 20260
# What an attack may make a server hold while it lasts: the connections' own buffers.
SOME = 8 * MIB
pytestmark = pytest.mark.timeout(300)
ENDED = {None, CloseCode.ABUSIVE, CloseCode.STALLED}


async def test_40_mb_of_pings_without_reading(victim: ServerProcess) -> None:
    pings = frame(PING, b"x" * 125) * 10_000
    with attack(victim, "40 MB of pings without reading", most=SOME):
        async with connect(f"{victim.ws_url}/ws", receive_buffer=4096) as line:
            line.pause()
            sent = took = len(pings)
            while sent < 40 * MIB and took == len(pings):
                took = await line.pour(pings, 2.0)
                sent += took
            assert sent < 40 * MIB, "it was listened to all the time"
            line.resume()
            assert await line.closed() in ENDED


@pytest.mark.parametrize("payload", [b"{}", b""], ids=["5,000 of two bytes", "5,000 empty ones"])
async def test_fragments(victim: ServerProcess, payload: bytes) -> None:
    with attack(victim, f"5,000 fragments of {len(payload)} bytes", most=SOME):
        for first in (TEXT, BINARY):
            async with connect(f"{victim.ws_url}/ws") as line:
                await line.pour(
                    frame(first, payload, fin=False) + frame(CONT, payload, fin=False) * 5000, 5.0
                )
                assert await line.closed() in ENDED
    assert MAX_FRAGMENTS < 5000


async def test_empty_frames(victim: ServerProcess) -> None:
    with attack(victim, "256 KiB of empty frames", most=SOME):
        for opcode in (TEXT, BINARY, Opcode.PONG):
            async with connect(f"{victim.ws_url}/ws") as line:
                await line.pour(frame(opcode) * (256 * 1024 // 6), 5.0)
                assert await line.closed() in ENDED


# Those that have no case in test_frames.
BAD = {
    "64 KiB": ([frame(TEXT, b"x" * 65536)], CloseCode.TOO_BIG),
    "64 KiB in fragments": (fragments(TEXT, [b"x" * 4096] * 16), CloseCode.TOO_BIG),
    "an unmasked frame": ([b"\x81\x02{}"], CloseCode.PROTOCOL_ERROR),
    "a length of 2^63": ([b"\x81\xff" + b"\xff" * 8 + b"mask"], CloseCode.TOO_BIG),
    "a length of 2^62": ([b"\x81\xff\x40" + bytes(7) + b"mask"], CloseCode.TOO_BIG),
}


async def test_bad_frames(victim: ServerProcess) -> None:
    found = {}
    with attack(victim, "bad frames", most=SOME):
        for _ in range(50 if FULL else 5):
            for name, (sent, _) in BAD.items():
                async with connect(f"{victim.ws_url}/ws") as line:
                    await line.pour(b"".join(sent), 5.0)
                    found[name] = await line.closed()
    # What was still on its way to a connection that is over may take its last word with it.
    for name, (_, code) in BAD.items():
        assert found[name] in (code, None if name.startswith("64 KiB") else code), name


async def test_readers_that_stall(victim: ServerProcess) -> None:
    """A receive window of 4 KiB, and nothing read from it: dropped when their time is over."""
    (worker,) = victim.workers
    many = 200 if FULL else 40
    item = "stalled/" + "x" * 240
    watch = json.dumps({"type": "watch", "items": [f"{item}{n:03}" for n in range(25)]}).encode()
    with attack(victim, f"{many} stalled readers with a window of 4 KiB", most=16 * MIB):
        before = clients(worker)
        lines = [await connect(f"{victim.ws_url}/ws", receive_buffer=4096) for _ in range(many)]
        for line in lines:
            # Snapshots that are not read, until nothing goes any more.
            line.pause()
            await line.pour(frame(TEXT, watch) * 200, 0.05)
        if FULL:  # Else tests/faults waits for that.
            deadline = STALL_AFTER + CLOSE_WITHIN + 30
            await eventually(lambda: clients(worker) <= before, deadline)
        for line in lines:
            await line.close()


HALF = (b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ", b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n")


def test_500_half_sent_requests(victim: ServerProcess) -> None:
    """All gone in 15 s, however slowly their heads go on."""
    (worker,) = victim.workers
    address = ("127.0.0.1", int(victim.url.rpartition(":")[2]))
    with attack(victim, "500 half-sent requests and slow headers", most=16 * MIB):
        before = clients(worker)
        lines = [socket.create_connection(address) for _ in range(500)]
        for number, line in enumerate(lines):
            line.sendall(HALF[number % 3])
        began = time.monotonic()

        def gone() -> bool:
            for line in lines[1::3]:
                try:
                    line.send(b"x")
                except OSError:
                    pass
            return clients(worker) <= before + 5  # the good client's own

        if FULL:  # Else tests/limits waits for that, on a server that waits less long.
            wait_for(gone, "the end of the half-sent", 15.0)
            print(f"\nhostile: all of them gone after {time.monotonic() - began:.1f} s (15 allowed)", end="")
        else:
            time.sleep(2.0)  # While the good client's waiting is measured.
        for line in lines:
            line.close()


def test_pipelined_requests(victim: ServerProcess) -> None:
    """The answers are not read: each is a hundred times as large when it is parsed."""
    address = ("127.0.0.1", int(victim.url.rpartition(":")[2]))
    requests = b"GET /v1/items?item=a HTTP/1.1\r\nHost: x\r\n\r\n" * 5000
    with attack(victim, "20 connections full of requests, none of the answers read", most=SOME):
        lines = [socket.create_connection(address) for _ in range(20)]
        for line in lines:
            line.settimeout(0.5 if FULL else 0.1)
            rest = memoryview(requests * 20)
            try:
                while rest:
                    rest = rest[line.send(rest[:65536]) :]
            except OSError:
                pass  # No more is taken, one way or another.
        for line in lines:
            line.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for few."""
    flags = ["--connections", "50", "--address-connections", "40", "--address-arrivals", "9999/s burst 9999"]
    with ServerProcess(tmp_path, flags=flags) as process:
        yield process.start()


def test_connections_without_end(small: ServerProcess) -> None:
    """Far more than there is a place for, none of which asks anything: health checks are answered."""
    (worker,) = small.workers
    address = ("127.0.0.1", int(small.url.rpartition(":")[2]))
    many, longest, before = (4000 if FULL else 1500), 0.0, resident(worker)
    with ExitStack() as stack:
        for number in range(many):
            stack.enter_context(socket.create_connection(address))
            if number % 100 == 99:
                for path in ("/livez", "/readyz"):
                    began = time.monotonic()
                    assert httpx.get(f"{small.url}{path}", timeout=20, trust_env=False).status_code == 200
                    longest = max(longest, time.monotonic() - began)
        assert clients(worker) <= 55 + SURPLUS
        rose = resident(worker) - before
    print(
        f"\nhostile: {many:,} idle connections where 50 may be: memory +{rose / MIB:.1f} MiB, "
        f"health answered within {1000 * longest:.0f} ms",
        end="",
    )
    assert rose <= 32 * MIB


WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws?item=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
# What is sent on a connection that then ends in one way or another.
LIVES = (
    b"",
    b"nonsense\r\n\r\n",
    WHOLE,
    WHOLE * 30,
    WHOLE + UPGRADE + b"\r\n",
    UPGRADE,
    UPGRADE + b"\r\n",
    UPGRADE + b"X-Forwarded-For: 192.0.2.1\r\n\r\n",
    UPGRADE.replace(b"/ws?", b"/elsewhere?") + b"\r\n",
    UPGRADE.replace(b"13", b"12") + b"\r\n",
    UPGRADE + b"Origin: null\r\n\r\n",
    UPGRADE + b"Content-Length: 5\r\n\r\nhello",
    UPGRADE + b"\r\n" + close_frame(1000),
    WHOLE.replace(b"/livez", b"/v1/stream?item=a"),
    WHOLE.replace(b"/livez", b"/v1/stream?item=a").replace(b"GET", b"HEAD"),
    WHOLE.replace(b"/livez", b"/v1/stream?item=a").replace(b"Host", b"X-Forwarded-For: 192.0.2.1\r\nHost"),
    b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
)


async def test_every_place_comes_back(small: ServerProcess) -> None:
    """However connections live and end, as many are let in afterwards as before, and not one more."""
    chance = random.Random(SEED)
    address = ("127.0.0.1", int(small.url.rpartition(":")[2]))
    (worker,) = small.workers
    before = clients(worker)
    for _ in range(4000 if FULL else 600):
        line = socket.create_connection(address)
        line.sendall(chance.choice(LIVES))
        if chance.random() < 0.5:
            line.settimeout(chance.choice((0.001, 0.01)))
            try:
                line.recv(100)
            except (TimeoutError, ConnectionError):
                pass
        if chance.random() < 0.5:  # with a reset
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
    await eventually(lambda: clients(worker) <= before, 30)
    assert "Traceback" not in small.output()
    for places, headers in ((40, {"X-Forwarded-For": "192.0.2.1"}), (50, {})):
        async with AsyncExitStack() as stack:
            lines = [
                await stack.enter_async_context(connect(f"{small.ws_url}/ws", additional_headers=headers))
                for _ in range(places)
            ]
            async with connect(f"{small.ws_url}/ws", additional_headers=headers) as beyond:
                assert await beyond.closed() == CloseCode.OVERLOADED
            for line in lines:
                await (await line.ping())
        await eventually(lambda: clients(worker) <= before, 30)


async def test_closing_and_going_on(victim: ServerProcess) -> None:
    with attack(victim, "sending on after a close", most=SOME):
        for _ in range(5):
            async with connect(f"{victim.ws_url}/ws") as line:
                await line.pour(close_frame(1000) + frame(TEXT, b"{}") * 100_000, 2.0)
                assert await line.closed() in {None, 1000}
