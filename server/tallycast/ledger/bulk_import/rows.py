"""Parses and validates the rows of an imported file.

Owns the two formats, CSV with a header and NDJSON. An error costs no other row than its own. Does not depend
on where the text comes from, nor on what is done with rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Annotated, NamedTuple

import msgspec

from tallycast.contract.errors import BadItem, BadMessage
from tallycast.domain.sites import Site
from tallycast.domain.visitors import check_visitor
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.header import VOTE, find_columns
from tallycast.ledger.bulk_import.records import TOO_LONG, Record, declared_delimiter, records
from tallycast.ledger.bulk_import.text import LONGEST_LINE, Text

# Counts beyond it, added up, might not be exact any more where they are numbers with a fraction.
MAX_COUNT = 10**15
LEEWAY = 60.0
# Ids that were validated and are cached, because most are repeated.
CACHED_IDS = 1 << 16

_BLANK = " \t\r\n"


class Vote(NamedTuple):
    """A visitor holds a reaction on an item, since ``at`` (µs since 1970; ``None``: since now)."""

    line: int
    item: str
    visitor: str
    reaction: str
    at: int | None


class Start(NamedTuple):
    """The bases of an item: the counts that it starts from, of every kind of the site."""

    line: int
    item: str
    counts: dict[str, int]


class Bad(NamedTuple):
    """A row that cannot be imported, and why."""

    line: int
    reason: str


Row = Vote | Start | Bad


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    """A line of NDJSON."""

    item: str
    visitor: str | None = None
    reaction: str | None = None
    time: str | int | float | None = None
    counts: dict[str, Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]] | None = None


class Rows:
    """The rows of one file for one site. ``now`` (s since 1970) is the latest time of a reaction."""

    def __init__(self, site: Site, now: float) -> None:
        self._kinds = site.kinds
        self._latest = now + LEEWAY
        self._object = msgspec.json.Decoder(_Object).decode
        # An invalid id is not cached: it raises.
        self._item: Callable[[object], str] = lru_cache(CACHED_IDS)(site.check_item)
        self._visitor: Callable[[object], str] = lru_cache(CACHED_IDS)(check_visitor)

    def read(self, text: Text, first: int = 1, delimiter: str | None = None) -> Iterator[Row]:
        """Parse the rows from line ``first`` on, and always the header; empty lines and rows are skipped.

        The header is read before this returns, the rows lazily. Without a ``delimiter`` it is the one with
        which the header is valid.

        Raises:
            ImportFailed: the header is wrong, or there is nothing in it.
        """
        lines = text.lines()
        number, line = _next_line(lines)
        if line.lstrip().startswith(("{", "[")):
            _check_json(number, line)
            return self._rows(text, _json(chain(((number, line),), lines)), self._from_json, first, _BLANK)
        if (declared := declared_delimiter(line)) is not None:
            number, line = _next_line(lines)
        found, places = find_columns(number, line, self._kinds, delimiter or declared)
        parse = self._csv_votes(places) if "visitor" in places else self._csv_starts(places)
        return self._rows(text, records(lines, found), parse, first, _BLANK + found)

    def _rows(
        self,
        text: Text,
        read: Iterable[Record],
        parse: Callable[[int, list[str]], Row],
        first: int,
        blank: str,
    ) -> Iterator[Row]:
        """The rows of these records from a line on; those of ``blank`` characters alone are skipped."""
        for number, line, values in read:
            if number < first:
                continue
            try:
                if isinstance(values, str):
                    raise ValueError(values)
                yield parse(number, values)
            except (ValueError, BadItem, BadMessage) as error:
                if line.strip(blank):
                    yield Bad(number, text.invalid(line) or str(error))

    def _csv_votes(self, places: dict[str, int]) -> Callable[[int, list[str]], Row]:
        item, visitor, reaction = (places[name] for name in VOTE)
        time = places.get("time")
        width = max(places.values()) + 1

        def parse(number: int, values: list[str]) -> Row:
            if len(values) != width:
                _check_width(values, width)
            at = self._time(values[time]) if time is not None else None
            return self._vote(number, values[item], values[visitor], values[reaction], at)

        return parse

    def _csv_starts(self, places: dict[str, int]) -> Callable[[int, list[str]], Row]:
        kinds = {kind: place for kind, place in places.items() if kind != "item"}
        item, width = places["item"], max(places.values()) + 1

        def parse(number: int, values: list[str]) -> Row:
            if len(values) != width:
                _check_width(values, width)
            counts = {kind: _count(kind, values[place]) for kind, place in kinds.items()}
            return self._start(number, values[item], counts)

        return parse

    def _from_json(self, number: int, values: list[str]) -> Row:
        try:
            row = self._object(values[0])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
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

    def _time(self, text: str | float) -> int | None:
        """A time in µs since 1970; ``None`` where it is empty."""
        if text == "":
            return None
        seconds = _seconds(text)
        if not 0 <= seconds <= self._latest:
            raise ValueError(f"the time {text} is not between 1970 and now")
        return round(seconds * 1e6)


def _next_line(lines: Iterator[tuple[int, str]]) -> tuple[int, str]:
    for number, line in lines:
        if line.strip():
            return number, line
    raise ImportFailed("there is nothing in it")


def _check_json(number: int, line: str) -> None:
    """Refuse JSON that is not one object a line: errors and the line to continue from refer to lines."""
    if line.lstrip().startswith("["):
        raise ImportFailed(
            f"line {number}: it is a JSON array, and one object a line is expected: "
            "jq -c '.[]' FILE | tallycast import -"
        )
    if len(line) <= LONGEST_LINE and not line.rstrip(" \t,").endswith("}"):
        raise ImportFailed(
            f"line {number}: the JSON object does not end on its line: jq -c . FILE | tallycast import -"
        )


def _json(lines: Iterable[tuple[int, str]]) -> Iterator[Record]:
    for number, line in lines:
        yield number, line, [line] if len(line) <= LONGEST_LINE else TOO_LONG


def _check_width(values: Sequence[str], width: int) -> None:
    """Accept empty values at the end of a row, which spreadsheets write."""
    if len(values) < width or any(values[width:]):
        raise ValueError(f"{len(values)} values, and the header has {width}")


def _count(kind: str, text: str) -> int:
    # int() accepts much else: signs, spaces, underscores, the digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) <= 16) or int(text) > MAX_COUNT:
        raise ValueError(f"the count of {kind} is a whole number up to 10^15, not {text[:40]!r}")
    return int(text)


def _seconds(text: str | float) -> float:
    if not isinstance(text, str):
        return text
    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"a time is seconds since 1970, or like 2026-01-31T12:00:00Z, not {text[:40]!r}"
        ) from None
    if when.tzinfo is None:
        raise ValueError(f"the time {text} says no time zone: append Z for UTC")
    return when.timestamp()
