"""Rows of a file that is imported: read line by line, checked, and what is wrong with one said.

Owns the two forms, CSV (RFC 4180, with a header) and NDJSON. A row is a line: no id may have a line's end in
it, so a quoted value never goes over one, and a mistake costs no other line than its own. Must not know where
lines come from, nor what becomes of rows.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec

from server.errors import BadItem, BadMessage, ImportFailed
from server.rules.sites import Site
from server.rules.visitors import check_visitor

LONGEST_LINE = 8192
# Counts beyond it, added up, might not be exact any more where they are numbers with a fraction.
MOST = 10**15
LEEWAY = 60.0
# Ids that were checked and may come again.
REMEMBERED = 1 << 16

# RFC 1952
_GZIP = b"\x1f\x8b"
_VOTE = ("item", "visitor", "reaction")


class Vote(NamedTuple):
    """A visitor holds a reaction on an item, since ``at`` (µs since 1970; ``None``: since now)."""

    line: int
    item: str
    visitor: str
    reaction: str
    at: int | None


class Start(NamedTuple):
    """An item begins with these counts, of every kind of the site, beside what visitors hold."""

    line: int
    item: str
    counts: dict[str, int]


class Bad(NamedTuple):
    """A row that says nothing that can be imported, and why."""

    line: int
    reason: str


Row = Vote | Start | Bad


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    """A line of NDJSON."""

    item: str
    visitor: str | None = None
    reaction: str | None = None
    time: str | int | float | None = None
    counts: dict[str, Annotated[int, msgspec.Meta(ge=0, le=MOST)]] | None = None


class Rows:
    """The rows of one file for one site. ``now`` is in seconds since 1970: a reaction cannot be of later."""

    def __init__(self, site: Site, now: float) -> None:
        self._kinds = site.kinds
        self._latest = now + LEEWAY
        self._object = msgspec.json.Decoder(_Object).decode
        # Most ids come again and again. A wrong one is not remembered: it raises.
        self._item: Callable[[object], str] = lru_cache(REMEMBERED)(site.check_item)
        self._visitor: Callable[[object], str] = lru_cache(REMEMBERED)(check_visitor)

    def read(self, lines: Iterable[bytes], first: int = 1) -> Iterator[Row]:
        """Rows, from line ``first`` on (the header is read all the same); empty lines are none.

        Raises:
            ImportFailed: the header is wrong, or there is no line at all.
        """
        parse = None
        number = 0
        for number, line in enumerate(lines, 1):
            if parse is None:
                if not line.strip():
                    continue
                parse, header = self._form(line.removeprefix(b"\xef\xbb\xbf"), number)
                if header:
                    continue
                line = line.removeprefix(b"\xef\xbb\xbf")
            if number < first or not line.strip():
                continue
            try:
                if len(line) > LONGEST_LINE:
                    raise ValueError(f"a line has at most {LONGEST_LINE} bytes")
                yield parse(number, line)
            except (ValueError, BadItem, BadMessage) as error:
                yield Bad(number, str(error))
        if parse is None:
            raise ImportFailed("there is nothing in it")

    def _form(self, line: bytes, number: int) -> tuple[Callable[[int, bytes], Row], bool]:
        """What parses the rows of a file that begins with this line, and whether that is a header."""
        if line.startswith(_GZIP):
            raise ImportFailed("it is compressed: zcat FILE | tallycast import -")
        if line.lstrip().startswith(b"{"):
            return self._from_json, False
        try:
            columns = [name.strip() for name in _cells(line)]
            return self._from_csv(columns), True
        except ValueError as error:
            raise ImportFailed(f"line {number}: {error}") from None

    def _from_csv(self, columns: Sequence[str]) -> Callable[[int, bytes], Row]:
        counts = not {"visitor", "reaction"} & set(columns)
        known = {"item", *self._kinds} if counts else {*_VOTE, "time"}
        wanted = {"item"} if counts else set(_VOTE)
        for name in columns:
            if name not in known or columns.count(name) > 1:
                trouble = "is there twice" if name in known else f"is none of {', '.join(sorted(known))}"
                raise ValueError(f"the header: {name!r} {trouble}")
        if not wanted <= set(columns) or len(columns) == 1:
            raise ValueError(
                f"the header: expected {', '.join(_VOTE)} and perhaps time, "
                f"or item and some of {', '.join(self._kinds)}; found {', '.join(columns)}"
            )
        places = {name: place for place, name in enumerate(columns)}
        return self._csv_starts(places) if counts else self._csv_votes(places)

    def _csv_votes(self, places: dict[str, int]) -> Callable[[int, bytes], Row]:
        item, visitor, reaction = (places[name] for name in _VOTE)
        time = places.get("time")

        def parse(number: int, line: bytes) -> Row:
            cells = _row(line, len(places))
            at = self._time(cells[time]) if time is not None else None
            return self._vote(number, cells[item], cells[visitor], cells[reaction], at)

        return parse

    def _csv_starts(self, places: dict[str, int]) -> Callable[[int, bytes], Row]:
        kinds = {kind: place for kind, place in places.items() if kind != "item"}

        def parse(number: int, line: bytes) -> Row:
            cells = _row(line, len(places))
            counts = {kind: _count(kind, cells[place]) for kind, place in kinds.items()}
            return self._start(number, cells[places["item"]], counts)

        return parse

    def _from_json(self, number: int, line: bytes) -> Row:
        try:
            row = self._object(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = str(error)
            raise ValueError(text if text.startswith("JSON") else text[:1].lower() + text[1:]) from None
        if row.counts is not None:
            if row.visitor is not None or row.reaction is not None or row.time is not None:
                raise ValueError("a row has a visitor and a reaction, or counts, and not both")
            return self._start(number, row.item, row.counts)
        if row.visitor is None or row.reaction is None:
            raise ValueError("a row has a visitor and a reaction, or counts")
        at = None if row.time is None else self._time(row.time)
        return self._vote(number, row.item, row.visitor, row.reaction, at)

    def _vote(self, number: int, item: str, visitor: str, reaction: str, at: int | None) -> Vote:
        if reaction not in self._kinds:
            raise ValueError(f"a reaction is one of {', '.join(self._kinds)}, not {reaction[:40]!r}")
        return Vote(number, self._item(item), self._visitor(visitor), reaction, at)

    def _start(self, number: int, item: str, counts: dict[str, int]) -> Start:
        for kind in counts:
            if kind not in self._kinds:
                raise ValueError(f"a reaction is one of {', '.join(self._kinds)}, not {kind[:40]!r}")
        return Start(number, self._item(item), {kind: counts.get(kind, 0) for kind in self._kinds})

    def _time(self, said: str | float) -> int | None:
        """In µs since 1970; nothing said is ``None``."""
        if said == "":
            return None
        seconds = _seconds(said)
        if not 0 <= seconds <= self._latest:
            raise ValueError(f"the time {said} is not between 1970 and now")
        return round(seconds * 1e6)


def _row(line: bytes, width: int) -> list[str]:
    cells = _cells(line)
    if len(cells) != width:
        raise ValueError(f"{len(cells)} values, and the header has {width}")
    return cells


def _cells(line: bytes) -> list[str]:
    # What is not UTF-8 becomes lone surrogates, which no id has.
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader((text,), strict=True))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None


def _count(kind: str, text: str) -> int:
    # int() takes much else: signs, spaces, underscores, the digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) <= 16) or int(text) > MOST:
        raise ValueError(f"the count of {kind} is a whole number up to 10^15, not {text[:40]!r}")
    return int(text)


def _seconds(said: str | float) -> float:
    if not isinstance(said, str):
        return said
    try:
        return float(said)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(
            f"a time is seconds since 1970, or like 2026-01-31T12:00:00Z, not {said[:40]!r}"
        ) from None
    if when.tzinfo is None:
        raise ValueError(f"the time {said} says no time zone: append Z for UTC")
    return when.timestamp()
