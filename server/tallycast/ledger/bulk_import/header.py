"""The header of an imported CSV file: its columns and its delimiter.

Owns the names of columns. Does not depend on rows.
"""

from collections.abc import Collection, Sequence

from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.records import DELIMITERS, read_header

VOTE = ("item", "visitor", "reaction")


def find_columns(
    number: int, line: str, kinds: Sequence[str], delimiter: str | None
) -> tuple[str, dict[str, int]]:
    """The delimiter, and the index of each column by its canonical name.

    Without a ``delimiter`` it is the first one with which the header is valid.

    Raises:
        ImportFailed: the header is wrong.
    """
    errors: list[tuple[int, str]] = []
    for candidate in DELIMITERS if delimiter is None else (delimiter,):
        names: list[str] = []
        try:
            names = read_header(line, candidate)
            return candidate, _places(names, kinds)
        except ValueError as error:
            errors.append((len(names), str(error)))
    many, reason = max(errors, key=lambda one: one[0])
    hint = "; --delimiter says what is between values" if delimiter is None and many == 1 else ""
    raise ImportFailed(f"line {number}: {reason}{hint}")


def _places(names: Sequence[str], kinds: Sequence[str]) -> dict[str, int]:
    counts = not {"visitor", "reaction"} & {name.strip().casefold() for name in names}
    known = ("item", *kinds) if counts else (*VOTE, "time")
    places: dict[str, int] = {}
    if "item" not in {_known(name, known) for name in names}:
        raise ValueError(_expected(names, kinds))
    for place, name in enumerate(names):
        column = _known(name, known)
        if column is None or column in places:
            trouble = f"is none of {', '.join(sorted(known))}" if column is None else "is there twice"
            raise ValueError(f"the header: {name[:40]!r} {trouble}")
        places[column] = place
    if not {"item"} < places.keys() if counts else not set(VOTE) <= places.keys():
        raise ValueError(_expected(names, kinds))
    return places


def _expected(names: Sequence[str], kinds: Sequence[str]) -> str:
    return (
        f"the header: expected {', '.join(VOTE)} and perhaps time, "
        f"or item and some of {', '.join(kinds)}; found {', '.join(names)[:80]}"
    )


def _known(name: str, known: Collection[str]) -> str | None:
    """The column of this name: spelled exactly so, or else apart from blanks and the case of letters."""
    if name in known:
        return name
    alike = [column for column in known if column.strip().casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None
