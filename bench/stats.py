"""Medians, spreads, ratios and budgets. Pure: does not depend on where numbers come from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

# One value a round; None where a round has none.
Rounds = Sequence[float | None]


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, with the least and the greatest."""

    median: float
    least: float
    most: float
    rounds: int


@dataclass(frozen=True)
class Budget:
    """An upper limit of the row ``of``, or of its ratio to the row ``over``."""

    limit: float
    of: str = "ours"
    over: str | None = None


class Verdict(Enum):
    """The outcome of a budget, decided by the median."""

    HOLDS = "holds"
    MISSED = "missed"
    UNKNOWN = "not measured"


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return the spread of the rounds that have a value; None when none has."""
    known = [value for value in values if value is not None]
    return Spread(median(known), min(known), max(known), len(known)) if known else None


def ratios(top: Rounds, bottom: Rounds) -> list[float | None]:
    """Divide round by round: what was measured in the same round shares its noise."""
    return [
        above / below if above is not None and below else None
        for above, below in zip(top, bottom, strict=True)
    ]


def format_number(value: float) -> str:
    """Format a value with at least three significant digits."""
    size = abs(value)
    if size == 0:
        return "0"
    return f"{value:,.{3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0}f}"


def judge(budget: Budget, rows: dict[str, Rounds]) -> tuple[Verdict, Spread | None]:
    """Return the verdict on a budget, and the spread that it is about."""
    measured: Rounds = rows.get(budget.of, ())
    if budget.over is not None:
        below = rows.get(budget.over, ())
        measured = ratios(measured, below) if len(measured) == len(below) else ()
    found = spread(measured)
    if found is None:
        return Verdict.UNKNOWN, None
    return (Verdict.HOLDS if found.median <= budget.limit else Verdict.MISSED), found
