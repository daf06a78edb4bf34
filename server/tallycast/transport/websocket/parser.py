"""From bytes to whole messages: websockets' Sans-I/O core (RFC 6455), shared by all idle connections.

Owns the parsers. A short message in one frame, which is what nearly every client sends, needs none. A
connection has a parser of its own only during a fragmented message or the close; an incomplete frame waits as
bytes. Does not depend on what a message means, and does not write to a connection.

The shared parser is fed valid, whole, final frames only, one at a time, so that it holds nothing of one
connection when it is fed the bytes of another. Any other bytes go to a parser of the connection's own, which
finds what is wrong with them. The few header bytes that are read here only say where a frame ends (section
5.2). The figures ``memory`` and ``reaction`` of ``make bench`` are why it is written like this.
"""

from typing import NamedTuple

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled part for this platform
    from websockets.utils import apply_mask

from tallycast.contract.codec import MAX_MESSAGE

# The core bounds a message's size, but not how many fragments make it up.
MAX_FRAGMENTS = 128
# One read can hold tens of thousands of empty frames: so many are parsed before other connections' turn.
MAX_FRAMES = 32

# The longest payload whose size is in the second byte, and what comes before it: two bytes and the mask.
SHORT, SHORT_HEAD = 125, 6
# The first byte of a whole message in one frame.
TEXT, BINARY = 0x81, 0x82

_DATA = frozenset((TEXT, BINARY))
_SHAREABLE = _DATA | {0x89, 0x8A}  # and pings, and pongs
_MASKED = 0x80
_OPCODES = frozenset(Opcode)


class Text(NamedTuple):
    """A whole text message; its bytes need not be UTF-8."""

    payload: bytes


class Binary(NamedTuple):
    """A whole binary message."""

    payload: bytes


class Answer(NamedTuple):
    """Frames of the protocol itself to be sent; with ``code``, a close code, the connection then ends."""

    data: bytes
    code: int | None = None


class TooManyFragments(NamedTuple):
    """A message has more fragments than any client needs."""


Event = Text | Binary | Answer | TooManyFragments


class ConnectionParser:
    """A connection's own parser, and its incomplete message."""

    __slots__ = ("core", "fragments", "opcode")

    def __init__(self, core: ServerProtocol) -> None:
        self.core = core
        self.fragments: list[bytes] = []
        self.opcode = Opcode.TEXT

    @property
    def idle(self) -> bool:
        """Whether it has no state that the shared parser lacks."""
        return self.core.state is State.OPEN and self.core.current_size is None


def new_core() -> ServerProtocol:
    """A parser for an open connection."""
    return ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE)


class Inbound:
    """One connection's bytes. ``shared`` is the parser of all idle connections.

    Made when a connection receives anything other than one short message in one read.

    Attributes:
        more: whether whole frames are left that ``receive`` has not parsed.
        frames: the number of frames that ``receive`` parsed last.
        scheduled: set by the connection, when ``receive`` is scheduled to be called again.
    """

    __slots__ = ("_own", "_rest", "_shared", "frames", "more", "scheduled")

    def __init__(self, shared: "SharedParser") -> None:
        self._shared = shared
        self._own: ConnectionParser | None = None
        self._rest = b""
        self.more = False
        self.frames = 0
        self.scheduled = False

    @property
    def idle(self) -> bool:
        """Whether there is no incomplete frame or message, and no close."""
        return self._own is None and not self._rest

    def close(self, code: int) -> bytes:
        """Start the closing handshake. Returns the close frame to send; none when one was sent before."""
        own = self._own = self._own or ConnectionParser(new_core())
        if own.core.state is not State.OPEN:
            return b""
        own.core.send_close(code)
        return b"".join(own.core.data_to_send())

    def receive(self, data: bytes) -> list[Event]:
        """The events of the frames that these bytes complete, in order; at most ``MAX_FRAMES`` frames.

        When ``more`` is left, call it again, without bytes, in a later turn of the loop.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        events: list[Event] = []
        at, size, frames = 0, len(data), 0
        while at < size:
            if frames == MAX_FRAMES:
                self._rest = data[at:]
                break
            frames += 1
            end = _end_of_frame(data, at, MAX_MESSAGE - self._so_far)
            if end is None:
                self._rest = data[at:]
                break
            # The usual case: the bytes are one frame.
            self._frame(data if at == 0 and end == size else data[at:end], events)
            at = end
        self.frames = frames
        self.more = frames == MAX_FRAMES and at < size
        return events

    @property
    def _so_far(self) -> int:
        """The size of the incomplete message; 0 when there is none."""
        return (self._own.core.current_size or 0) if self._own is not None else 0

    def _frame(self, data: bytes, events: list[Event]) -> None:
        own = self._own
        if own is None:
            payload = short_message(data)
            if payload is not None:
                events.append(Text(payload) if data[0] == TEXT else Binary(payload))
                return
            if data[0] in _SHAREABLE and self._shared.parse(data, events):
                return
        if own is None:
            own = self._own = ConnectionParser(new_core())
        own.core.receive_data(data)
        self._take(own, events)
        if own.idle:
            self._own = None

    def _take(self, own: ConnectionParser, events: list[Event]) -> None:
        """The events of an own parser: fragments are joined, close and errors are answered."""
        for event in own.core.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.CONT:
                own.fragments.append(bytes(event.data))
            elif event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
                own.opcode = event.opcode
                own.fragments = [bytes(event.data)]
            else:
                continue
            if event.fin:
                events.append(_message(own.opcode, b"".join(own.fragments)))
                own.fragments = []
            elif len(own.fragments) > MAX_FRAGMENTS:
                events.append(TooManyFragments())
                own.fragments.clear()  # The connection is closed for it.
        answer = own.core.data_to_send()
        if answer:
            # An empty piece stands for the end of TCP.
            close = own.core.close_sent if b"" in answer else None
            events.append(Answer(b"".join(answer), None if close is None else close.code))


class SharedParser:
    """The parser that all idle connections share, for whole final frames."""

    def __init__(self) -> None:
        self._core = new_core()

    def parse(self, data: bytes, events: list[Event]) -> bool:
        """Parse one whole frame. Returns ``False`` for an invalid one, which leaves no trace."""
        core = self._core
        core.receive_data(data)
        frames, answer = core.events_received(), core.data_to_send()
        if core.parser_exc is not None or len(frames) != 1:
            self._core = new_core()
            return False
        (frame,) = frames
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            events.append(_message(frame.opcode, bytes(frame.data)))
        elif answer:
            events.append(Answer(b"".join(answer)))
        return True


def _message(opcode: Opcode, payload: bytes) -> Text | Binary:
    return Text(payload) if opcode is Opcode.TEXT else Binary(payload)


def short_message(data: bytes) -> bytes | None:
    """The payload, where these bytes are one whole final frame with a short message, and nothing else.

    The usual case by far; the core takes ten times as long for it.
    """
    size = len(data) - SHORT_HEAD
    if 0 <= size <= SHORT and data[1] == _MASKED | size and data[0] in _DATA:
        return apply_mask(data[SHORT_HEAD:], data[2:SHORT_HEAD])
    return None


def _end_of_frame(data: bytes, at: int, limit: int) -> int | None:
    """The end of the frame that begins at ``at``; ``None`` when the frame is incomplete.

    Bytes that cannot become a frame within the limits end where the data ends: a parser reports why.
    """
    size = len(data)
    if size - at < 2:
        return None
    second = data[at + 1]
    if not second & _MASKED or data[at] & 0x0F not in _OPCODES:
        return size
    length, start = second & 0x7F, at + 6
    if length == 126:
        if size - at < 4:
            return None
        length, start = int.from_bytes(data[at + 2 : at + 4]), at + 8
    elif length == 127:
        if size - at < 10:
            return None
        length, start = int.from_bytes(data[at + 2 : at + 10]), at + 14
    if length > limit:
        return size
    end = start + length
    return end if end <= size else None


def is_utf8(payload: bytes) -> bool:
    """Whether the payload of a text message is valid (RFC 6455, section 8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
