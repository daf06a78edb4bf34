"""From bytes to whole messages: websockets' Sans-I/O core (RFC 6455), shared by all that are idle.

Owns the parsers. A short message in one frame, which is what nearly every client sends, needs none. A
connection has one of its own only while a message of it is in fragments or it is closing; a frame of which a
part is missing waits as bytes. Must not know what a message means, nor write to a connection.

The shared parser is fed whole, final, unsurprising frames only, one at a time, so that it holds nothing of
one connection when it is given bytes of another. Whatever else comes goes to a parser of the connection's
own, which knows what is wrong with it. The few header bytes that are read here only say where a frame ends
(section 5.2).
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
# One read can hold tens of thousands of empty frames: the loop is kept from others no longer than these take.
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
    """Frames that the protocol itself wants sent; with ``code``, a close code, the connection then ends."""

    data: bytes
    code: int | None = None


class TooManyFragments(NamedTuple):
    """A message in more fragments than any client needs."""


Event = Text | Binary | Answer | TooManyFragments


class ConnectionParser:
    """A connection's own parser, and the message it is in the middle of."""

    __slots__ = ("core", "fragments", "opcode")

    def __init__(self, core: ServerProtocol) -> None:
        self.core = core
        self.fragments: list[bytes] = []
        self.opcode = Opcode.TEXT

    @property
    def idle(self) -> bool:
        """Whether nothing is left that a shared parser would not know."""
        return self.core.state is State.OPEN and self.core.current_size is None


def new_core() -> ServerProtocol:
    """A parser for an open connection."""
    return ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE)


class Inbound:
    """One connection's bytes. ``shared`` is the one parser for all of them."""

    __slots__ = ("_own", "_rest", "_shared", "frames", "more")

    def __init__(self, shared: "SharedParser") -> None:
        self._shared = shared
        self._own: ConnectionParser | None = None
        self._rest = b""
        # Whether whole frames are left that ``receive`` has not looked at.
        self.more = False
        # How many frames ``receive`` took from the last bytes.
        self.frames = 0

    def close(self, code: int) -> bytes:
        """Start the closing handshake; the close frame to send, none when one was sent before."""
        own = self._own = self._own or ConnectionParser(new_core())
        if own.core.state is not State.OPEN:
            return b""
        own.core.send_close(code)
        return b"".join(own.core.data_to_send())

    def single(self, data: bytes) -> bytes | None:
        """The payload, where these bytes are one short message, and nothing came before them.

        The usual case by far. ``None`` is anything else, and says nothing about it: ``receive`` it.
        """
        return _short(data) if self._own is None and not self._rest else None

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes complete, in order: at most ``MAX_FRAMES`` frames of it.

        When ``more`` is left, call it again, without bytes, after others have had their turn.
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
            # The usual case: all that came is one frame.
            self._frame(data if at == 0 and end == size else data[at:end], events)
            at = end
        self.frames = frames
        self.more = frames == MAX_FRAMES and at < size
        return events

    @property
    def _so_far(self) -> int:
        """The size of the message that is in fragments; 0 when none is."""
        return (self._own.core.current_size or 0) if self._own is not None else 0

    def _frame(self, data: bytes, events: list[Event]) -> None:
        own = self._own
        if own is None:
            payload = _short(data)
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
        """The events of an own parser: fragments are put together, close and errors are answered."""
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
                own.fragments.clear()  # nobody will want them
        said = own.core.data_to_send()
        if said:
            # An empty piece stands for the end of TCP.
            close = own.core.close_sent if b"" in said else None
            events.append(Answer(b"".join(said), None if close is None else close.code))


class SharedParser:
    """The parser that all connections share, for whole final frames."""

    def __init__(self) -> None:
        self._core = new_core()

    def parse(self, data: bytes, events: list[Event]) -> bool:
        """Take one whole frame; ``False`` when something is wrong with it, and then nothing was taken."""
        core = self._core
        core.receive_data(data)
        frames, said = core.events_received(), core.data_to_send()
        if core.parser_exc is not None or len(frames) != 1:
            self._core = new_core()
            return False
        (frame,) = frames
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            events.append(_message(frame.opcode, bytes(frame.data)))
        elif said:
            events.append(Answer(b"".join(said)))
        return True


def _message(opcode: Opcode, payload: bytes) -> Text | Binary:
    return Text(payload) if opcode is Opcode.TEXT else Binary(payload)


def _short(data: bytes) -> bytes | None:
    """The payload, where these bytes are one whole final frame with a short message, and nothing else.

    The core takes ten times as long for it.
    """
    size = len(data) - SHORT_HEAD
    if 0 <= size <= SHORT and data[1] == _MASKED | size and data[0] in _DATA:
        return apply_mask(data[SHORT_HEAD:], data[2:SHORT_HEAD])
    return None


def _end_of_frame(data: bytes, at: int, limit: int) -> int | None:
    """Where the frame that begins at ``at`` ends; ``None`` when a part of it is missing.

    What cannot become a whole frame within the limits ends where the data ends: a parser will say why.
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
