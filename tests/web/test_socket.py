"""The deadlines of a connection, with a transport and a clock that stand still until they are moved."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tallycast.contract.errors import CloseCode
from tallycast.domain.addresses import Client
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import Topic
from tallycast.ledger.reader import Query, State
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.liveness import BEAT_AFTER, CLOSE_WITHIN, STALL_AFTER
from tallycast.transport.timer_wheel import TimerWheel
from tallycast.transport.websocket.broadcast import NO_FD, broadcast
from tallycast.transport.websocket.parser import MAX_FRAGMENTS, MAX_FRAMES
from tallycast.transport.websocket.protocol import Socket
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from tests.support.names import NAMES
from tests.support.parts import Parts, ignore, no_later

REQUEST = Request(
    "/ws",
    Headers(
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
        }
    ),
)
CLOSE = 0x88


class Transport(asyncio.Transport):
    """Remembers what was done to it; the socket below it is a real one, with ``peer`` at its other end."""

    def __init__(self) -> None:
        super().__init__()
        ours, self.peer = socket.socketpair()
        for end in (ours, self.peer):
            end.setblocking(False)
        super().__init__({"socket": ours})
        self.waiting = bytearray()
        self.buffered = 0
        self.aborted = self.closing = False
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        self.waiting += data

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def received(self) -> bytes:
        """What the peer has received since the last look."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    def received_all(self) -> bytes:
        """The same, however much it is."""
        return b"".join(iter(self.received, b""))

    def fill(self) -> None:
        """Write until the socket takes no more."""
        try:
            while True:
                self.get_extra_info("socket").send(bytes(65536))
        except BlockingIOError:
            pass

    def end(self) -> None:
        """Close both ends."""
        self.peer.close()
        self.get_extra_info("socket").close()

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


UNKNOWN_CLIENT = Client("", forwarded=False)


class Bench:
    """A socket that has shaken hands, and the clock of its rounds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns: list[Any] = []
        self.queries: list[Query] = []
        self.transport = Transport()
        self.timers = TimerWheel(lambda: self.now)
        self.parts = Parts(
            lambda: self.now,
            hub=Hub(NAMES.item_channel, ignore, ignore, no_later, lambda: self.now),
            timers=self.timers,
            flush_soon=lambda call: call(),
            read=self.queries.append,
            soon=self.turns.append,
        )
        self.socket = Socket(self.parts.websockets, config=None, server_state=None, app_state=None)
        self.socket.connection_made(self.transport)

    @property
    def descriptor(self) -> int:
        """Of the socket below."""
        return int(self.transport.get_extra_info("socket").fileno())

    def watch(self, item: str) -> Topic:
        """Let the socket watch an item of which nothing is known yet."""
        message = {"type": "watch", "items": [item]}
        self.socket.data_received(Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True))
        self.queries.pop().done([State(0, {}, None)])
        assert b"watching" in self.transport.received()
        return self.parts.hub.topics([NAMES.item_channel("default", item)])[0]

    def shake(self) -> None:
        self.socket.upgraded(REQUEST, self.parts.admission.add_connection(None), UNKNOWN_CLIENT)
        assert self.transport.received().startswith(b"HTTP/1.1 101")

    def wait(self, seconds: float) -> None:
        """Let time pass; everybody is visited ten times a second, or rather once a second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.1, end)
            self.timers.advance()


@pytest.fixture
def bare() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.transport.end()


@pytest.fixture
def bench(bare: Bench) -> Bench:
    bare.shake()
    return bare


def test_a_refused_upgrade_is_waited_for_while_there_is_budget(bare: Bench) -> None:
    """Once it is used up the close goes out all the same, and the connection with it."""
    office = Client("192.0.2.7", forwarded=True)
    foreign = Request("/ws", Headers({**REQUEST.headers, "Origin": "null"}), "GET", "HTTP/1.1")
    waits = bare.parts.admission._caps.address_arrivals.burst
    for number in range(waits + 1):
        assert not bare.transport.closing, number
        place = bare.parts.admission.add_connection(office)
        one = bare if number == waits else Bench()
        one.parts, one.socket._shared = bare.parts, bare.parts.websockets
        one.socket.upgraded(foreign, place, office)
        assert one.transport.received().endswith(b"\x88\x02\x11\x97"), "4503"
        assert one.transport.closing is (number == waits)
        assert one.socket.owner is None
        if one is not bare:
            one.transport.end()
    assert not bare.parts.admission._at_address


def test_silence_is_broken_by_a_beat(bench: Bench) -> None:
    bench.wait(BEAT_AFTER - 1)
    assert not bench.transport.received()
    bench.wait(3.1)
    assert bench.transport.received()[2:] == b'{"type":"beat"}'
    bench.wait(BEAT_AFTER + 2.1)
    assert bench.transport.received().count(b"beat") == 1


def test_updates_break_the_silence_too(bench: Bench) -> None:
    for _ in range(6):
        bench.wait(BEAT_AFTER / 2)
        assert bench.socket.deliver(b"update")
    assert bench.transport.received() == b"update" * 6


def test_what_was_written_to_many_at_once_breaks_the_silence_too(bench: Bench) -> None:
    """The socket takes no part in that."""
    topic = bench.watch("a")
    for version in range(1, 7):
        bench.wait(BEAT_AFTER / 2)
        bench.parts.hub.publish(NAMES.item_channel("default", "a"), version, {})
        assert topic.version == version
    assert bench.transport.received().count(b"version") == 6
    bench.wait(BEAT_AFTER - 1)
    assert not bench.transport.received()
    bench.wait(3.1)
    assert bench.transport.received()[2:] == b'{"type":"beat"}'


def test_a_peer_that_takes_nothing_is_dropped(bench: Bench) -> None:
    bench.socket.pause_writing()
    assert not bench.transport.reading, "a peer that does not read is not read"
    bench.wait(STALL_AFTER - 1)
    assert bench.transport.waiting == b""
    bench.wait(2.1)
    assert bench.transport.waiting == Frame(Opcode.CLOSE, b"\x0f\xa1").serialize(mask=False), "4001"
    bench.socket.deliver(b"update")
    assert bench.transport.waiting.endswith(b"\x0f\xa1"), "nothing comes after a close"
    assert not bench.transport.aborted, "a peer that wakes up now gets the close"
    assert bench.transport.reading, "and its answer is read"
    bench.wait(CLOSE_WITHIN + 1.1)
    assert bench.transport.aborted


def test_a_peer_that_takes_something_again_is_not_dropped(bench: Bench) -> None:
    for _ in range(3):
        bench.socket.pause_writing()
        bench.wait(STALL_AFTER - 1)
        bench.socket.resume_writing()
        assert bench.transport.reading
    bench.wait(STALL_AFTER * 2)
    assert not bench.transport.aborted


def test_a_peer_that_reads_slowly_but_steadily_is_not_dropped(bench: Bench) -> None:
    bench.transport.buffered = 60_000
    bench.socket.pause_writing()
    for _ in range(20):
        bench.wait(3)
        bench.transport.buffered -= 1000
    assert not bench.transport.aborted
    bench.wait(STALL_AFTER + CLOSE_WITHIN + 3.1)
    assert bench.transport.aborted


def test_a_close_that_is_not_answered_ends_all_the_same(bench: Bench) -> None:
    bench.socket.bye(1.5)
    bench.socket.close_gracefully()
    said = bench.transport.received()
    assert b'"bye"' in said
    assert CLOSE in said
    bench.wait(CLOSE_WITHIN - 1)
    assert not bench.transport.aborted
    bench.wait(2.1)
    assert bench.transport.aborted


def test_sending_on_after_a_close_gives_no_more_time_for_its_own(bench: Bench) -> None:
    fragment = Frame(Opcode.CONT, b"", False).serialize(mask=True)
    bench.socket.data_received(Frame(Opcode.TEXT, b"", False).serialize(mask=True))
    for _ in range(2 * int(CLOSE_WITHIN)):
        bench.socket.data_received(fragment * (MAX_FRAGMENTS + 1))
        bench.wait(0.9)
    assert bench.transport.received() == b"\x88\x02\x11\x94", "4500, once"
    assert bench.transport.aborted
    own = bench.socket._inbound._own
    assert own is not None
    assert len(own.fragments) <= MAX_FRAGMENTS


def test_a_stalled_reader_cannot_hold_up_a_shutdown(bench: Bench) -> None:
    bench.socket.pause_writing()
    bench.socket.close_gracefully()
    bench.wait(CLOSE_WITHIN + 1.1)
    assert bench.transport.aborted


def test_an_upgrade_that_never_comes_is_not_waited_for(bare: Bench) -> None:
    bare.wait(CLOSE_WITHIN + 1.1)
    assert bare.transport.aborted


def test_what_the_socket_does_not_take_goes_through_the_transport(bench: Bench) -> None:
    assert bench.transport.high == 0, "a connection with anything waiting is blocked"
    bench.transport.fill()
    assert bench.socket.deliver(b"frame")
    assert bench.transport.waiting == b"frame"
    bench.socket.pause_writing()
    bench.transport.received()
    bench.socket.write(b" answer")
    assert bench.transport.waiting == b"frame answer", "never past what waits already"
    assert not bench.socket.deliver(b"update"), "an update is not queued"
    assert not bench.socket.deliver(b"update")


def test_of_a_frame_that_is_taken_in_part_only_the_rest_waits(bench: Bench) -> None:
    """Sockets of a kernel's own take small writes as a whole or not at all; TCP does not."""
    for send in (lambda data: broadcast(data, [bench.socket], True), bench.socket.write):
        frame = bytes(range(256)) * 8192
        send(frame)
        taken = bench.transport.received_all()
        assert 0 < len(taken) < len(frame)
        assert taken + bench.transport.waiting == frame
        bench.transport.waiting.clear()


def test_the_handshake_does_not_overtake_an_answer_that_waits(bench: Bench) -> None:
    """The transport had stopped its protocol for an answer to a request, and does not say so again."""
    transport = Transport()
    transport.buffered = 100_000
    late = Socket(bench.parts.websockets, config=None, server_state=None, app_state=None)
    late.connection_made(transport)
    late.upgraded(REQUEST, bench.parts.admission.add_connection(None), UNKNOWN_CLIENT)
    assert transport.received() == b""
    assert transport.waiting.startswith(b"HTTP/1.1 101")
    transport.end()


def test_a_frame_at_once_does_not_overtake_what_was_written_in_this_turn(bench: Bench) -> None:
    turn: list[Any] = []
    object.__setattr__(bench.parts.websockets, "coalescer", WriteCoalescer(turn.append))
    bench.socket.write(b"first ")
    assert bench.socket.deliver(b"second ")
    bench.socket.write(b"third")
    assert bench.transport.received() == b""
    assert bench.socket.fd == NO_FD, "nothing may overtake what waits"
    turn.pop()()
    assert bench.transport.received() == b"first second third"
    assert bench.socket.fd == bench.descriptor


def test_nothing_is_written_to_the_descriptor_of_a_connection_that_is_over(bench: Bench) -> None:
    """The next connection may have been given it."""
    turn: list[Any] = []
    object.__setattr__(bench.parts.websockets, "coalescer", WriteCoalescer(turn.append))
    bench.socket.write(b"written, and then it ended")
    bench.socket.connection_lost(None)
    turn.pop()()
    bench.socket.write(b"more")
    bench.socket.deliver(b"more")
    bench.socket.flush()
    assert bench.socket.fd == NO_FD
    assert bench.transport.received() == b""
    assert bench.transport.waiting == b""


def test_nothing_writes_past_a_connection_that_is_blocked_closing_or_over(bench: Bench) -> None:
    bench.socket.pause_writing()
    assert bench.socket.fd == NO_FD, "nothing may overtake what waits in the transport"
    bench.socket.resume_writing()
    assert bench.socket.fd == bench.descriptor
    bench.socket.close(CloseCode.ABUSIVE)
    assert bench.socket.fd == NO_FD, "nothing comes after a close"


def test_the_descriptor_is_forgotten_at_the_end(bench: Bench) -> None:
    """The next connection may be given it before the hub hears of the end."""
    assert bench.socket.fd == bench.descriptor
    bench.socket.connection_lost(None)
    assert bench.socket.fd == NO_FD


def test_after_the_end_nothing_is_left(bench: Bench) -> None:
    assert len(bench.timers) == 1
    bench.socket.connection_lost(None)
    assert len(bench.timers) == 0


def test_a_flood_is_taken_in_turns_and_not_read_on_meanwhile(bench: Bench) -> None:
    ping = Frame(Opcode.PING, b"").serialize(mask=True)
    frames = MAX_FRAMES * 3
    bench.socket.data_received(ping * frames)
    pongs = 0
    for turn in range(1, 4):
        pongs += len(bench.transport.received()) // 2
        assert pongs == turn * MAX_FRAMES
        assert bench.transport.reading is (turn == 3)
        assert len(bench.turns) == (turn < 3)
        for call in bench.turns[:]:
            bench.turns.remove(call)
            call()
    bench.socket.data_received(ping)
    assert len(bench.transport.received()) == 2


def test_a_held_line_stays_held_when_the_peer_reads_again(bench: Bench) -> None:
    bench.socket.pause_reading()
    bench.socket.pause_writing()
    bench.socket.resume_writing()
    assert not bench.transport.reading
    bench.socket.resume_reading()
    assert bench.transport.reading
