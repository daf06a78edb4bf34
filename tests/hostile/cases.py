"""What a WebSocket server must do with each kind of frame, by the sections of the Autobahn test suite.

Owns the cases: what is sent, and what must come back from a server that echoes messages. Written after the
suite's published descriptions (sections 1 to 7 and 10) and RFC 6455; they are not the suite itself. Must not
know how they are sent.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from websockets.frames import Opcode

from tests.client.websocket import close_frame, fragments, frame

CONT, TEXT, BINARY, CLOSE, PING, PONG = (
    Opcode.CONT,
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
)
NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007
NO_CODE = 1005

HELLO = "Hello-µ@ßöäüàá-UTF-8!!".encode()
KOSME = "κόσμε".encode()
# Above the last code point.
TOO_HIGH = b"\xf4\x90\x80\x80"

SECTIONS = {
    "1.1": "text messages, 0 to 65,536 bytes",
    "1.2": "binary messages, 0 to 65,536 bytes",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4.1": "reserved opcodes, data",
    "4.2": "reserved opcodes, control",
    "5": "fragmentation",
    "6.1": "empty text, also in fragments",
    "6.2": "valid UTF-8, in fragments too",
    "6.3": "invalid UTF-8, in fragments too",
    "6.4": "invalid UTF-8 that begins well",
    "6.5": "a valid text and all of its prefixes",
    "6.7": "first code points of each length",
    "6.8": "sequences of 5 and 6 bytes, the first ones",
    "6.9": "last code points of each length",
    "6.10": "sequences of 4 to 6 bytes, the last ones",
    "6.11": "other borders",
    "6.12": "unexpected continuation bytes",
    "6.13": "lonely first bytes",
    "6.14": "sequences without their last byte",
    "6.16": "impossible bytes",
    "6.17": "overlong sequences",
    "6.20": "surrogates, alone and in pairs",
    "6.22": "noncharacters, which are valid",
    "6.23": "replacement characters, which are valid",
    "7.1": "what comes after a close",
    "7.3": "payloads of a close",
    "7.5": "a close whose reason is not UTF-8",
    "7.7": "close codes that are valid",
    "7.9": "close codes that are not",
    "10.1": "65,536 bytes in fragments of 1,300",
}


class Case(NamedTuple):
    """``sent`` in pieces; ``received`` are the frames that must come back, then a close with ``ends``.

    Where ``ends`` is ``None`` the server must be in good order: the tester closes, and it answers that.
    """

    section: str
    sent: Sequence[bytes]
    received: Sequence[tuple[int, bytes]] = ()
    ends: int | None = None


def octets(data: Sequence[bytes]) -> list[bytes]:
    """The same, byte by byte."""
    return [bytes((byte,)) for byte in b"".join(data)]


def cut(data: bytes, size: int) -> list[bytes]:
    """Data in pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def cases() -> Iterator[Case]:
    """All of them, by section."""
    yield from _sizes()
    yield from _pings()
    yield from _reserved()
    yield from _fragmentation()
    yield from _utf8()
    yield from _closes()
    text = b"*" * 65536
    yield Case("10.1", fragments(TEXT, cut(text, 1300)), [(TEXT, text)])


def _sizes() -> Iterator[Case]:
    for section, opcode, unit in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for size in (0, 125, 126, 127, 128, 65535, 65536):
            yield Case(section, [frame(opcode, unit * size)], [(opcode, unit * size)])
        whole = frame(opcode, unit * 65536)
        yield Case(section, cut(whole, 997), [(opcode, unit * 65536)])


def _pings() -> Iterator[Case]:
    for payload in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
        yield Case("2", [frame(PING, payload)], [(PONG, payload)])
    yield Case("2", [frame(PING, b"\xfe" * 126)], ends=PROTOCOL_ERROR)
    yield Case("2", octets([frame(PING, b"\xfe" * 125)]), [(PONG, b"\xfe" * 125)])
    yield Case("2", [frame(PONG)])
    yield Case("2", [frame(PONG, b"unsolicited")])
    yield Case("2", [frame(PONG, b"unsolicited"), frame(PING, b"asked")], [(PONG, b"asked")])
    ten = [b"ping %d" % number for number in range(10)]
    for pieces in (list, octets):
        yield Case("2", pieces([frame(PING, one) for one in ten]), [(PONG, one) for one in ten])


def _reserved() -> Iterator[Case]:
    hello = frame(TEXT, b"Hello, world!")
    echo = [(TEXT, b"Hello, world!")]
    yield Case("3", [frame(TEXT, b"Hello", rsv=1)], ends=PROTOCOL_ERROR)
    for rsv in (2, 3, 4):
        pieces = [hello, frame(TEXT, b"Hello", rsv=rsv), frame(PING)]
        yield Case("3", octets(pieces) if rsv == 4 else pieces, echo, PROTOCOL_ERROR)
    yield Case("3", [frame(BINARY, b"\x00\xff", rsv=5)], ends=PROTOCOL_ERROR)
    yield Case("3", [frame(PING, b"Hello", rsv=6)], ends=PROTOCOL_ERROR)
    yield Case("3", [frame(CLOSE, (1000).to_bytes(2), rsv=7)], ends=PROTOCOL_ERROR)
    for section, first in (("4.1", 3), ("4.2", 11)):
        yield Case(section, [frame(first)], ends=PROTOCOL_ERROR)
        yield Case(section, [frame(first + 1, b"reserved")], ends=PROTOCOL_ERROR)
        yield Case(section, [hello, frame(first + 2), frame(PING)], echo, PROTOCOL_ERROR)
        yield Case(section, [hello, frame(first + 3, b"reserved"), frame(PING)], echo, PROTOCOL_ERROR)
        last = [hello, frame(first + 4, b"reserved"), frame(PING)]
        yield Case(section, octets(last), echo, PROTOCOL_ERROR)


def _fragmentation() -> Iterator[Case]:
    two = fragments(TEXT, [b"fragment1", b"fragment2"])
    echo = [(TEXT, b"fragment1fragment2")]
    joined = [b"".join(two)]
    for opcode in (PING, PONG):
        yield Case("5", [frame(opcode, b"a", fin=False), frame(CONT, b"b")], ends=PROTOCOL_ERROR)
    for pieces in (two, joined, octets(two)):
        yield Case("5", pieces, echo)
    between = [two[0], frame(PING, b"ping"), two[1]]
    for pieces in (between, [b"".join(between)], octets(between)):
        yield Case("5", pieces, [(PONG, b"ping"), *echo])
    for fin in (True, False):
        lost = [frame(CONT, b"nothing to continue", fin=fin), frame(TEXT, b"Hello")]
        for pieces in (lost, [b"".join(lost)], octets(lost)):
            yield Case("5", pieces, ends=PROTOCOL_ERROR)
    yield Case("5", [*two, frame(CONT, b"lost", fin=False), frame(TEXT, b"x")], echo, PROTOCOL_ERROR)
    for fin in (False, True):
        yield Case("5", [frame(CONT, b"lost", fin=fin), *two] * 2, ends=PROTOCOL_ERROR)
    yield Case("5", [frame(TEXT, b"fragment1", fin=False), frame(TEXT, b"fragment2")], ends=PROTOCOL_ERROR)
    five = fragments(TEXT, [b"fragment%d" % number for number in range(1, 6)])
    pinged = [*five[:2], frame(PING, b"1"), *five[2:4], frame(PING, b"2"), five[4]]
    whole = b"".join(b"fragment%d" % number for number in range(1, 6))
    for pieces in (pinged, octets(pinged)):
        yield Case("5", pieces, [(PONG, b"1"), (PONG, b"2"), (TEXT, whole)])


def _utf8() -> Iterator[Case]:
    yield Case("6.1", [frame(TEXT)], [(TEXT, b"")])
    yield Case("6.1", fragments(TEXT, [b"", b"", b""]), [(TEXT, b"")])
    yield Case("6.1", fragments(TEXT, [b"", b"middle", b""]), [(TEXT, b"middle")])
    yield Case("6.2", [frame(TEXT, HELLO)], [(TEXT, HELLO)])
    yield Case("6.2", fragments(TEXT, [HELLO[:12], HELLO[12:]]), [(TEXT, HELLO)])
    for text in (HELLO, KOSME):
        yield Case("6.2", fragments(TEXT, cut(text, 1)), [(TEXT, text)])
    bad = KOSME + b"\xed\xa0\x80edited"
    yield Case("6.3", [frame(TEXT, bad)], ends=INVALID_DATA)
    yield Case("6.3", fragments(TEXT, cut(bad, 1)), ends=INVALID_DATA)
    for parts in ([KOSME, TOO_HIGH, b"edited"], [KOSME + TOO_HIGH[:1], TOO_HIGH[1:], b"edited"]):
        yield Case("6.4", fragments(TEXT, parts), ends=INVALID_DATA)
        yield Case("6.4", octets([frame(TEXT, b"".join(parts))]), ends=INVALID_DATA)
    for section, texts in _TEXTS.items():
        for text in texts:
            if _is_utf8(text):
                yield Case(section, [frame(TEXT, text)], [(TEXT, text)])
            else:
                yield Case(section, [frame(TEXT, text)], ends=INVALID_DATA)


def _is_utf8(text: bytes) -> bool:
    """By the table of RFC 3629, section 4, and not by the decoder that the server uses."""
    at = 0
    while at < len(text):
        for length, low, high, second in _TABLE:
            if low <= text[at] <= high:
                rest = text[at + 1 : at + length]
                if len(rest) < length - 1 or any(not 0x80 <= byte <= 0xBF for byte in rest):
                    return False
                if rest and not second[0] <= rest[0] <= second[1]:
                    return False
                at += length
                break
        else:
            return False
    return True


_TABLE = (
    (1, 0x00, 0x7F, (0, 0)),
    (2, 0xC2, 0xDF, (0x80, 0xBF)),
    (3, 0xE0, 0xE0, (0xA0, 0xBF)),
    (3, 0xE1, 0xEC, (0x80, 0xBF)),
    (3, 0xED, 0xED, (0x80, 0x9F)),
    (3, 0xEE, 0xEF, (0x80, 0xBF)),
    (4, 0xF0, 0xF0, (0x90, 0xBF)),
    (4, 0xF1, 0xF3, (0x80, 0xBF)),
    (4, 0xF4, 0xF4, (0x80, 0x8F)),
)
_FIRSTS = (b"\xc0", b"\xe0", b"\xf0", b"\xf8", b"\xfc")
_LASTS = (b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf7\xbf\xbf\xbf", b"\xfb" + b"\xbf" * 4, b"\xfd" + b"\xbf" * 5)
_TEXTS: dict[str, list[bytes]] = {
    "6.5": [KOSME[:size] for size in range(1, len(KOSME) + 1)],
    "6.7": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.9": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.10": list(_LASTS[2:]),
    "6.11": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", TOO_HIGH],
    "6.12": [b"\x80", b"\xbf", *((b"\x80\xbf" * 4)[:n] for n in range(2, 8)), bytes(range(0x80, 0xC0))],
    "6.13": [
        b"".join(b"%c " % first for first in range(low, high))
        for low, high in ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE))
    ],
    "6.14": [first + b"\x80" * n for n, first in enumerate(_FIRSTS)] + [last[:-1] for last in _LASTS],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [
        *(b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"),
        *(b"\xfc\x80\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"),
        *(b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80"),
        *(b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
    ],
    "6.20": [
        *(b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"),
        *(b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"),
        *(
            high + low
            for high in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
            for low in (b"\xed\xb0\x80", b"\xed\xbf\xbf")
        ),
    ],
    "6.22": [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    "6.23": [chr(point).encode() for point in range(0xFFF9, 0xFFFE)],
}


def _closes() -> Iterator[Case]:
    hello, echo = frame(TEXT, b"Hello, world!"), [(TEXT, b"Hello, world!")]
    yield Case("7.1", [hello, close_frame(NORMAL)], echo, NORMAL)
    for after in (close_frame(NORMAL), frame(PING, b"late"), hello):
        yield Case("7.1", [close_frame(NORMAL), after], ends=NORMAL)
    begun = frame(TEXT, b"fragment1", fin=False)
    # In the middle of a message. RFC 6455 says nothing of that; to websockets' core it is an error.
    yield Case("7.1", [begun, close_frame(NORMAL), frame(CONT, b"fragment2")], ends=PROTOCOL_ERROR)
    long = b"*" * 262144
    yield Case("7.1", [frame(TEXT, long), close_frame(NORMAL)], [(TEXT, long)], NORMAL)
    yield Case("7.3", [close_frame(None)], ends=NO_CODE)
    yield Case("7.3", [frame(CLOSE, b"a")], ends=PROTOCOL_ERROR)
    for reason in (b"", b"Hello", b"*" * 123):
        yield Case("7.3", [close_frame(NORMAL, reason)], ends=NORMAL)
    yield Case("7.3", [close_frame(NORMAL, b"*" * 124)], ends=PROTOCOL_ERROR)
    yield Case("7.5", [close_frame(NORMAL, KOSME + b"\xed\xa0\x80edited")], ends=INVALID_DATA)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case("7.7", [close_frame(code)], ends=code)
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case("7.9", [close_frame(code)], ends=PROTOCOL_ERROR)
