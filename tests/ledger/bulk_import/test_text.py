"""Encodings, byte order marks, line ends, and what is no text at all."""

import codecs
from collections.abc import Iterator

import pytest
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.text import LONGEST_LINE, Text, check_encoding

SAY = "say which encoding it has, such as --encoding cp1252; --encoding utf-8 leaves such rows out"
SEEMS = "it seems to be UTF-16 without a byte order mark: say so with --encoding"
LINES = "item,like\ngröße ☃,1\n\U0001f600,2\n"


def pieces(data: bytes, many: int = 3) -> Iterator[bytes]:
    for at in range(0, len(data), many):
        yield data[at : at + many]


def lines(data: bytes, encoding: str | None = None) -> list[str]:
    return [line for _, line in Text(pieces(data), encoding).lines()]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends(mark: bytes, encoding: str, end: str) -> None:
    data = mark + LINES.replace("\n", end).encode(encoding)
    assert lines(data) == LINES.splitlines()
    assert lines(data, encoding) == LINES.splitlines()
    assert lines(data.removesuffix(end.encode(encoding))) == LINES.splitlines()


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "shift_jis", "utf-16-le", "utf-16-be"])
def test_an_encoding_that_is_given(encoding: str) -> None:
    text = "item,like\n日本,1\n" if encoding == "shift_jis" else "item,like\nGröße,1\n"
    assert lines(text.encode(encoding), encoding) == text.splitlines()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("item,like\na,1\né,2\n".encode("latin-1"), f"line 3: byte 0xE9 is not utf-8: {SAY}"),
        ("item,like\r\ré,2\r".encode("latin-1"), f"line 3: byte 0xE9 is not utf-8: {SAY}"),
        (b"item,like\na,1\n\xe2\x98", "line 3: byte 0xE2 is not utf-8: "),
        (codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\x00\xd8", "line 2: byte 0x00 is not utf-16: "),
        ("item".encode("utf-16-le"), f"{SEEMS} utf-16-le"),
        ("item".encode("utf-16-be"), f"{SEEMS} utf-16-be"),
        (b"\x1f\x8b\x08\x00", "it is compressed: zcat FILE | tallycast import -"),
        (b"PK\x03\x04x", "it is a spreadsheet or a ZIP file: save it as CSV, or: unzip -p FILE | "),
        (bytes(100), "it is no text: there are NUL bytes in its first line"),
        (b"\x28\xb5\x2f\xfd", "it is compressed: zstdcat FILE"),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        lines(data)
    assert str(caught.value).startswith(reason)


def test_an_encoding_that_contradicts_a_byte_order_mark() -> None:
    with pytest.raises(ImportFailed, match="begins with the byte order mark of utf-16: leave --encoding out"):
        lines("a".encode("utf-16"), "cp1252")


@pytest.mark.parametrize("name", ["utf-16", "UTF_16", "utf-32"])
def test_an_encoding_that_needs_a_byte_order_mark(name: str) -> None:
    """Python's decoders raise an error of their own there."""
    with pytest.raises(ImportFailed, match=r"it has no byte order mark, .*: say --encoding utf-(16|32)-le"):
        lines("item".encode(f"{name}-le"), name)
    assert lines("item".encode(name), name) == ["item"]
    assert lines(b"", name) == []


def test_invalid_bytes_in_an_encoding_that_was_given_stay_on_their_line() -> None:
    text = Text(pieces(b"a\n\xe9b\nc\n"), "utf-8")
    assert [text.invalid(line) for _, line in text.lines()] == [None, "byte 0xE9 is not utf-8", None]


def test_line_ends_within_a_line() -> None:
    """The first one says which it is."""
    assert lines(b"a\nb\rc\nd") == ["a", "b\rc", "d"]
    assert lines(b"a\r\r\nb\r\r\n") == ["a", "b"]
    assert lines(b"a\rb\nc\rd\r") == ["a", "b\nc", "d"]


def test_a_line_without_end_is_not_kept() -> None:
    data = b"a\n" + b"x" * 100_000 + b"\nb\n" + b"y" * LONGEST_LINE + b"\n" + b"z" * 20_000
    a, long, b, just, last = lines(data)
    assert (a, b) == ("a", "b")
    assert [len(line) for line in (long, just, last)] == [LONGEST_LINE + 1, LONGEST_LINE, LONGEST_LINE + 1]


@pytest.mark.parametrize("name", ["", "nope", "hex", "rot13", "idna", "punycode", "utf\x00", "undefined"])
def test_names_that_are_no_encoding(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected one like utf-8, utf-16-le or cp1252, not "):
        check_encoding(name)
