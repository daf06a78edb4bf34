"""Text of an imported file: its encoding, its line ends, its lines.

Owns how the encoding is detected, and the errors where it is uncertain. Does not depend on what a line means.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from tallycast.ledger.bulk_import.errors import ImportFailed

# Characters. A longer line is cut off, so that a file without line ends is not held in memory.
LONGEST_LINE = 8192
# The most bytes that are read to find the first line end.
HEAD = 65_536
# Bytes of the shortest header: so many are text in every file that can be imported.
HEADER_NAME = 6

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose little-endian mark it begins with.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPREADSHEET = "it is a spreadsheet or a ZIP file: save it as CSV, or: unzip -p FILE | tallycast import -"
_NO_TEXT = {
    b"\x1f\x8b": "it is compressed: zcat FILE | tallycast import -",
    b"BZh": "it is compressed: bzcat FILE | tallycast import -",
    b"\xfd7zXZ\x00": "it is compressed: xzcat FILE | tallycast import -",
    b"\x28\xb5\x2f\xfd": "it is compressed: zstdcat FILE | tallycast import -",
    b"PK\x03\x04": _SPREADSHEET,
    b"\xd0\xcf\x11\xe0": "it is a spreadsheet: save it as CSV",
}
# Their decoders refuse text without a byte order mark.
_EITHER_ORDER = ("utf-16", "utf-32")
_UTF_16 = {True: "utf-16-le", False: "utf-16-be"}

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile("\r*\n|\r+(?=[^\r\n])")


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Decode invalid bytes to lone surrogates, which no encoding yields for anything else."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    invalid = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in invalid), error.end


_MARK = "tallycast.mark"
codecs.register_error(_MARK, _mark)


class Text:
    """The text of a file that comes as blocks of bytes.

    Args:
        encoding: As the user specifies; invalid bytes then cost their rows only. ``None``: as the file says,
            or else UTF-8; then an invalid byte ends the reading, because all that was read may be wrong.

    Raises:
        ImportFailed: it is no text, or of unknown encoding.
    """

    def __init__(self, blocks: Iterable[bytes], encoding: str | None = None) -> None:
        blocks = iter(blocks)
        head = _at_least(blocks, HEADER_NAME)
        self._strict = encoding is None
        self.encoding = _encoding(head, encoding)
        self._blocks = chain((head,), blocks)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Every line with its number from 1, without its end; the rest of one too long may be missing.

        Raises:
            ImportFailed: it cannot be decoded, or read any further.
        """
        texts = self._texts()
        head, end = _line_end(texts)
        number, rest = 0, ""
        for text in chain((head,), texts):
            whole = rest + text
            lines = whole.split(end)
            rest = lines.pop()[: LONGEST_LINE + 1]
            # Nearly every line needs no check.
            plain = "\r" not in whole and (whole.isascii() or not self._strict)
            for line in lines:
                number += 1
                yield number, line if plain else self._line(number, line)
        if rest:
            yield number + 1, self._line(number + 1, rest)

    def invalid(self, text: str) -> str | None:
        """The error in text with bytes that could not be decoded, else ``None``."""
        found = None if text.isascii() else _SURROGATE.search(text)
        if found is None:
            return None
        return f"byte 0x{ord(found[0]) & 0xFF:02X} is not {self.encoding.removesuffix('-sig')}"

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)(_MARK)
        for block in self._blocks:
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

    def _line(self, number: int, line: str) -> str:
        if self._strict and not line.isascii() and (reason := self.invalid(line)):
            name = self.encoding.removesuffix("-sig")
            raise ImportFailed(
                f"line {number}: {reason}: say which encoding it has, such as --encoding cp1252; "
                f"--encoding {name} leaves such rows out"
            )
        return line.rstrip("\r")


def check_encoding(name: str) -> None:
    """Check the name of an encoding.

    Raises:
        ValueError: there is no such encoding of text.
    """
    try:
        # Some codecs are not between bytes and text, and some accept no error handler.
        known = isinstance(b" ".decode(name, _MARK), str)
    except (LookupError, ValueError):
        known = False
    if not known:
        raise ValueError(f"expected one like utf-8, utf-16-le or cp1252, not {name[:40]!r}")


def _at_least(blocks: Iterator[bytes], size: int) -> bytes:
    """The first blocks, of at least so many bytes, or all there are."""
    head = b""
    while len(head) < size and (block := next(blocks, b"")):
        head += block
    return head


def _encoding(head: bytes, specified: str | None) -> str:
    for magic, reason in _NO_TEXT.items():
        if head.startswith(magic):
            raise ImportFailed(reason)
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _marked(name, specified)
    if specified is None and head[:2].count(0) == 1:
        raise ImportFailed(
            f"it seems to be UTF-16 without a byte order mark: say so with --encoding {_UTF_16[head[1] == 0]}"
        )
    if specified is None and 0 in head[:HEADER_NAME]:
        raise ImportFailed("it is no text: there are NUL bytes in its first line")
    if specified is not None and head and (mute := codecs.lookup(specified).name) in _EITHER_ORDER:
        raise ImportFailed(
            f"it has no byte order mark, which {mute} needs: say --encoding {mute}-le or --encoding {mute}-be"
        )
    return specified or "utf-8"


def _marked(name: str, specified: str | None) -> str:
    """The encoding of a file with the byte order mark of one, where ``specified`` does not contradict."""
    marked = name.removesuffix("-sig")
    if specified is not None and not codecs.lookup(specified).name.startswith(marked):
        raise ImportFailed(f"it begins with the byte order mark of {marked}: leave --encoding out")
    return name


def _line_end(texts: Iterator[str]) -> tuple[str, str]:
    """The text up to the first line end at least, and what ends its lines: LF, or CR alone.

    The first line decides. A CR elsewhere, where lines end with LF, is a character of its line.
    """
    head = ""
    while (found := _LINE_END.search(head)) is None and len(head) < HEAD:
        text = next(texts, None)
        if text is None:
            return head, "\r" if "\r" in head else "\n"
        head += text
    return head, "\n" if found is None or "\n" in found[0] else "\r"
