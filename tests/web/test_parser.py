"""The shared parser beside a parser for each connection: no connection gets a byte of another's."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tallycast.transport.websocket.parser import (
    BINARY,
    MAX_FRAGMENTS,
    MAX_FRAMES,
    Answer,
    Binary,
    Inbound,
    SharedParser,
    Text,
    TooManyFragments,
    new_core,
    short_message,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import State

DATA = (Opcode.TEXT, Opcode.BINARY)


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def in_pieces(opcode: Opcode, pieces: list[bytes], between: bytes) -> bytes:
    """A message in fragments, with a ping between each two."""
    frames = [
        masked(opcode if i == 0 else Opcode.CONT, piece, fin=i == len(pieces) - 1)
        for i, piece in enumerate(pieces)
    ]
    return masked(Opcode.PING, between).join(frames)


payloads = st.one_of(
    st.binary(max_size=40), st.integers(120, 130).map(bytes), st.integers(8180, 8200).map(bytes)
)
valid = st.one_of(
    st.builds(masked, st.sampled_from(DATA), payloads),
    st.builds(masked, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    st.builds(
        in_pieces,
        st.sampled_from(DATA),
        st.lists(payloads, min_size=2, max_size=5),
        st.binary(max_size=10),
    ),
)
hostile = st.one_of(
    st.binary(max_size=30),
    st.builds(
        masked,
        st.just(Opcode.CLOSE),
        st.sampled_from([b"", b"\x03\xe8", b"\x03", b"\x00\x00", b"\x03\xe8\xff"]),
    ),
    st.builds(masked, st.just(Opcode.CONT), payloads, fin=st.booleans()),
    st.builds(masked, st.sampled_from(DATA), payloads, fin=st.just(False)),
    st.builds(lambda payload: Frame(Opcode.TEXT, payload).serialize(mask=False), payloads),
    st.builds(
        lambda frame, first: bytes([first]) + frame[1:],
        st.builds(masked, st.just(Opcode.TEXT), payloads),
        st.integers(0, 255),
    ),
    # A second fragment that says that it will be too long for the rest, and is not sent in full.
    st.builds(
        lambda first, second: (
            masked(Opcode.TEXT, bytes(first), fin=False) + masked(Opcode.CONT, bytes(second))[:10]
        ),
        st.integers(4000, 8192),
        st.integers(4000, 8192),
    ),
    st.builds(lambda size: b"\x81\xff" + size.to_bytes(8, "big") + b"mask", st.integers(0, 2**64 - 1)),
)
# More frames than are looked at in one go, so that others have their turn in between.
flood = st.builds(
    lambda frame, times: frame * times,
    st.builds(masked, st.sampled_from([Opcode.TEXT, Opcode.PING]), st.binary(max_size=2)),
    st.integers(MAX_FRAMES - 2, 2 * MAX_FRAMES + 2),
)
streams = st.lists(st.one_of(valid, valid, valid, hostile, hostile, flood), max_size=8).map(b"".join)


def single(connection: Inbound, data: bytes) -> bytes | None:
    """The payload of a short message in one read, as a socket finds it."""
    return short_message(data) if connection.idle else None


class Received:
    """What came of a connection's bytes, however it was cut."""

    def __init__(self) -> None:
        self.messages: list[tuple[bool, bytes]] = []
        self.answers = b""
        self.over = False

    def read(self, connection: Inbound, data: bytes) -> None:
        """As a socket does with what it has read."""
        payload = single(connection, data)
        if payload is not None:
            self.messages.append((data[0] == BINARY, payload))
            return
        self.take(connection.receive(data))

    def take(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Text | Binary):
                self.messages.append((isinstance(event, Binary), event.payload))
            elif isinstance(event, Answer):
                self.answers += event.data
                self.over = self.over or event.code is not None
            else:
                raise AssertionError(event)


def alone(stream: bytes) -> Received:
    """What a parser of its own makes of a stream that comes in one piece."""
    received, core = Received(), new_core()
    core.receive_data(stream)
    opcode, pieces = Opcode.TEXT, []
    for frame in core.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in DATA:
            opcode, pieces = frame.opcode, []
        elif frame.opcode is not Opcode.CONT:
            continue
        pieces.append(bytes(frame.data))
        if frame.fin:
            received.messages.append((opcode is Opcode.BINARY, b"".join(pieces)))
    said = core.data_to_send()
    received.answers, received.over = b"".join(said), b"" in said
    return received


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(streams, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_many_connections_on_one_parser_are_as_each_on_its_own(sent: list[bytes], chance: Any) -> None:
    shared = SharedParser()
    connections = [Inbound(shared) for _ in sent]
    received = [Received() for _ in sent]
    left = list(sent)

    def go_on(peer: int) -> None:
        # How many frames there are is not for chance to know: in a broken stream it depends on the mask.
        while connections[peer].more:
            received[peer].take(connections[peer].receive(b""))

    while any(left):
        peer = chance.choice([i for i, data in enumerate(left) if data])
        go_on(peer)
        cut = chance.choice([1, 2, 3, chance.randint(1, 20), chance.randint(1, 2000), len(left[peer])])
        piece, left[peer] = left[peer][:cut], left[peer][cut:]
        received[peer].read(connections[peer], piece)
    for peer in range(len(sent)):
        go_on(peer)
    assert [vars(one) for one in received] == [vars(alone(stream)) for stream in sent]


def test_a_short_message_alone_needs_no_parser() -> None:
    connection = Inbound(SharedParser())
    for size in (0, 1, 4, 125):
        assert single(connection, masked(Opcode.BINARY, bytes(range(size)))) == bytes(range(size))
    frame = masked(Opcode.TEXT, b"message")
    others = [
        b"",
        frame[:1],
        frame[:5],
        frame[:-1],
        frame + frame,
        b"\x01" + frame[1:],
        b"\xc1" + frame[1:],
        masked(Opcode.PING, b"message"),
        masked(Opcode.CLOSE, b"\x03\xe8"),
        masked(Opcode.TEXT, bytes(126)),
        Frame(Opcode.TEXT, b"message").serialize(mask=False),
        Frame(Opcode.TEXT, b"message").serialize(mask=False) + b"mask",
    ]
    assert [single(connection, data) for data in others] == [None] * len(others)
    connection.receive(frame[:3])
    assert single(connection, frame) is None, "these bytes belong to the frame that is under way"
    closing = Inbound(SharedParser())
    closing.close(1000)
    assert single(closing, frame) is None


def test_an_idle_connection_has_no_parser_of_its_own() -> None:
    connection = Inbound(SharedParser())
    whole = masked(Opcode.TEXT, b"whole")
    pieces = in_pieces(Opcode.TEXT, [b"in", b" pieces"], b"ping")
    assert connection.receive(whole[:5]) == []
    assert connection._own is None, "a part of a frame waits as bytes"
    assert connection.receive(whole[5:] + pieces[:-1]) != []
    assert connection._own is not None
    assert connection.receive(pieces[-1:]) == [Text(b"in pieces")]
    assert connection._own is None
    assert connection._rest == b""


def test_the_shared_parser_is_replaced_after_an_error() -> None:
    shared = SharedParser()
    bad, good = Inbound(shared), Inbound(shared)
    broken = b"\xc1" + masked(Opcode.TEXT, b"reserved bit")[1:]
    too_long = masked(Opcode.PING, b"")[:1] + b"\xfe\x00\x7e" + bytes(4 + 126)
    for data in (broken, too_long):
        answer = bad.receive(data)[-1]
        assert isinstance(answer, Answer)
        assert answer.code is not None
        assert good.receive(masked(Opcode.TEXT, b"fine")) == [Text(b"fine")]
        bad = Inbound(shared)
    assert shared._core.state is State.OPEN


def test_a_message_in_endless_fragments_is_noticed() -> None:
    connection = Inbound(SharedParser())
    connection.receive(masked(Opcode.TEXT, b"", fin=False))
    events = connection.receive(masked(Opcode.CONT, b"", fin=False) * MAX_FRAGMENTS)
    while connection.more:
        events += connection.receive(b"")
    assert events == [TooManyFragments()]


def test_a_close_is_sent_once_and_the_answer_to_it_ends_it() -> None:
    connection = Inbound(SharedParser())
    assert connection.close(4500) == b"\x88\x02\x11\x94"
    assert connection.close(1012) == b""
    events = connection.receive(masked(Opcode.TEXT, b"late") + masked(Opcode.CLOSE, b"\x11\x94"))
    assert events[-1] == Answer(b"", 4500)
