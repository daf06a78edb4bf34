"""Records of CSV (RFC 4180), with other delimiters too.

Owns delimiters, quotes, and where a record ends: a value in quotes may go over several lines, and a broken
record is one mistake. Does not depend on what a value means.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from tallycast.ledger.bulk_import.text import LONGEST_LINE

# In the order in which they are tried on a header.
DELIMITERS = (",", ";", "\t", "|")

_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

TOO_LONG = f"a row has at most {LONGEST_LINE} characters"
_MIXED = "not CSV: line ends are mixed, a CR stands alone: write them all as LF or as CRLF"
_STRAY = "not CSV: a value with a quote in it stands in quotes, and each quote in it is doubled"


# The number of its first line, that line, and its values, or the error in it.
Record = tuple[int, str, list[str] | str]


class _TooLong(Exception):  # noqa: N818  never leaves this module
    """A quote is not closed within the length of a row."""


def check_delimiter(text: str) -> str:
    """Parse a delimiter: one character, or ``tab``.

    Raises:
        ValueError: it is none.
    """
    delimiter = "\t" if text.lower() in ("tab", r"\t") else text
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError(f"expected one character, or tab, not {text[:40]!r}")
    return delimiter


def declared_delimiter(line: str) -> str | None:
    """The delimiter in a line ``sep=;``, which spreadsheets put before the header; else ``None``."""
    found = _SEP.fullmatch(line.rstrip(" "))
    return None if found is None else found[1]


def records(lines: Iterable[tuple[int, str]], delimiter: str) -> Iterator[Record]:
    """The records of these lines.

    A quote that is not closed within the length of a row costs the line on which it opens, no other.
    """
    source = _Lines(lines)
    for number, text in source:
        if len(text) > LONGEST_LINE:
            yield number, text, TOO_LONG
        # Nearly every line. Other line ends within a line are for the CSV reader to refuse.
        elif '"' not in text and "\r" not in text and "\n" not in text:
            yield number, text, text.split(delimiter)
        else:
            yield number, text, _read(source, number, text, delimiter)


def read_header(line: str, delimiter: str) -> list[str]:
    """The names in a header, which is one line; values without a name at its end are left out.

    Raises:
        ValueError: it is not CSV.
    """
    values = _read(_Lines(()), 1, line, delimiter)
    if isinstance(values, str):
        raise ValueError(values)
    while len(values) > 1 and not values[-1].strip():
        values.pop()
    return values


class _Lines:
    """Lines, of which some may be pushed back to be read again."""

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._lines = iter(lines)
        self._returned: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self

    def __next__(self) -> tuple[int, str]:
        return self._returned.popleft() if self._returned else next(self._lines)

    def push_back(self, lines: Iterable[tuple[int, str]]) -> None:
        """Read these next."""
        self._returned.extendleft(reversed(list(lines)))


def _read(source: _Lines, number: int, text: str, delimiter: str) -> list[str] | str:
    """The values of a record that begins with this line, or the error in it."""
    more: list[tuple[int, str]] = []
    try:
        values = next(csv.reader(_lines_of_record(source, text, more), delimiter=delimiter, strict=True))
    except _TooLong:
        source.push_back(more)
        return f"not CSV: the quote that opens here is not closed within {LONGEST_LINE} characters"
    except csv.Error as error:
        where = f" (lines {number} to {more[-1][0]})" if more else ""
        what = _MIXED if "\r" in text else f"not CSV: {error}"
        return f"{what}{where}"
    whole = "\n".join((text, *(line for _, line in more)))
    # The CSV reader takes any other quote for a character. It may end a value whose beginning was refused.
    if any('"' in value and f'"{value.replace(chr(34), chr(34) * 2)}"' not in whole for value in values):
        return _STRAY
    return values


def _lines_of_record(source: _Lines, text: str, more: list[tuple[int, str]]) -> Iterator[str]:
    """The lines for the CSV reader: the first one and, as long as a quote is open, ``more`` of them."""
    yield f"{text}\n"
    size = len(text)
    for line in source:
        more.append(line)
        size += len(line[1]) + 1
        if size > LONGEST_LINE:
            break
        yield f"{line[1]}\n"
    raise _TooLong
