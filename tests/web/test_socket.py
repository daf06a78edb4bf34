"""The deadlines of a connection, with a transport and a clock that stand still until they are moved."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from server.guard import Guard
from server.hub import Hub, People
from server.ledger.keys import item_channel
from server.rules.sites import Site
from server.web.rooms import Rooms
from server.web.rounds import Rounds
from server.web.socket import BEAT_AFTER, CLOSE_WITHIN, STALL_AFTER, Socket

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = 0x88


class Transport(asyncio.Transport):
    """Remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = self.closing = False
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = True


class Bench:
    """A socket that has shaken hands, and the clock of its rounds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.transport = Transport()
        self.state: Any = SimpleNamespace(connections=set())
        self.rounds = Rounds(lambda: self.now)
        nothing: Any = lambda *_: None  # noqa: E731
        self.rooms = Rooms(
            guard=Guard({"default": Site()}, b"s" * 32),
            hub=Hub(item_channel, nothing, nothing),
            people=People(nothing, nothing),
            rounds=self.rounds,
            write=nothing,
            read=nothing,
            ready=lambda: True,
        )
        self.socket = Socket(self.rooms, config=None, server_state=self.state, app_state=None)
        self.socket.connection_made(self.transport)

    def shake(self) -> None:
        self.socket.data_received(REQUEST)
        assert self.transport.written.startswith(b"HTTP/1.1 101")
        self.transport.written.clear()

    def wait(self, seconds: float) -> None:
        """Let time pass; everybody is visited ten times a second, or rather once a second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.1, end)
            self.rounds.turn()


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.shake()
    return bench


def test_silence_is_broken_by_a_beat(bench: Bench) -> None:
    bench.wait(BEAT_AFTER - 1)
    assert not bench.transport.written
    bench.wait(2.1)
    assert bytes(bench.transport.written[2:]) == b'{"type":"beat"}'
    bench.wait(BEAT_AFTER + 1.1)
    assert bench.transport.written.count(b"beat") == 2


def test_who_takes_nothing_is_dropped(bench: Bench) -> None:
    bench.socket.pause_writing()
    assert not bench.transport.reading, "who does not read is not read"
    bench.wait(STALL_AFTER - 1)
    assert not bench.transport.aborted
    bench.wait(2.1)
    assert bench.transport.aborted


def test_who_takes_something_again_is_not_dropped(bench: Bench) -> None:
    for _ in range(3):
        bench.socket.pause_writing()
        bench.wait(STALL_AFTER - 1)
        bench.socket.resume_writing()
        assert bench.transport.reading
    bench.wait(STALL_AFTER * 2)
    assert not bench.transport.aborted


def test_a_close_that_is_not_answered_ends_all_the_same(bench: Bench) -> None:
    bench.socket.shutdown()
    assert b'"bye"' in bench.transport.written
    assert CLOSE in bench.transport.written
    bench.wait(CLOSE_WITHIN - 1)
    assert not bench.transport.aborted
    bench.wait(2.1)
    assert bench.transport.aborted


def test_a_stalled_reader_cannot_hold_up_a_shutdown(bench: Bench) -> None:
    bench.socket.pause_writing()
    bench.socket.shutdown()
    bench.wait(CLOSE_WITHIN + 1.1)
    assert bench.transport.aborted


def test_an_upgrade_that_never_comes_is_not_waited_for() -> None:
    bench = Bench()
    bench.wait(CLOSE_WITHIN + 1.1)
    assert bench.transport.aborted


def test_after_the_end_nothing_is_left(bench: Bench) -> None:
    assert len(bench.rounds) == 1
    assert bench.state.connections == {bench.socket}
    bench.socket.connection_lost(None)
    assert len(bench.rounds) == 0
    assert bench.state.connections == set()


def test_a_held_line_stays_held_when_the_peer_reads_again(bench: Bench) -> None:
    bench.socket.hold()
    bench.socket.pause_writing()
    bench.socket.resume_writing()
    assert not bench.transport.reading
    bench.socket.resume()
    assert bench.transport.reading
