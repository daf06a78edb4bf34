"""The terms of a figure: scale, samples, metrics and steps.

Does not depend on any figure, nor on how results are shown.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders.base import Contender
from bench.stats import Budget

MICRO = 1e6


@dataclass(frozen=True)
class Scale:
    """The size of a run. Times are in seconds."""

    passes: int = 4  # measurements of a contender in a round, alternating with the others
    sockets: int = 2000  # for fan-out and accept
    items: int = 200  # for fan-out over many items
    broadcasts: int = 4  # a pass
    idle: int = 10_000  # connections
    visitors: int = 256  # that react, each with one reaction in flight
    reactions: int = 5_000  # a pass
    catalogue: int = 1000  # items that receive reactions
    watchers: int = 1000  # of the hot item
    seconds: float = 2.0  # of reactions at a rate, for latency
    hot_seconds: float = 1.5  # the same, for the cost of a hot item
    stalled: int = 50  # of the watchers never read
    stalled_seconds: float = 20.0  # of reactions meanwhile
    crowd: int = 20_000  # watchers that receive a broadcast while another client pings
    sweeps: int = 20  # broadcasts to the crowd


QUICK = Scale(
    passes=3,
    sockets=500,
    items=50,
    idle=1000,
    reactions=1000,
    watchers=200,
    seconds=1.0,
    hot_seconds=1.0,
    stalled=20,
    stalled_seconds=3.0,
    crowd=2000,
    sweeps=5,
)


@dataclass
class Sample:
    """The values of one contender in one round, by metric and row, and notes on them."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, dict[str, float]] = field(default_factory=dict)

    def note(self, metric: str, text: str, value: float) -> None:
        """Add a line below a metric's table; ``text`` is a format with a place for ``value``."""
        self.notes.setdefault(metric, {})[text] = value


@dataclass(frozen=True)
class Metric:
    """One table: rows, of which ``of`` is compared with the others."""

    key: str
    title: str
    short: str  # the title where there is less room
    unit: str
    rows: dict[str, str]
    budgets: tuple[Budget, ...] = ()
    of: str = "ours"
    ratios: bool = True  # whether the ratio to other rows is meaningful


# A measurement of one contender. At each yield other contenders take a step, so that a disturbance of the
# machine that lasts seconds affects all of them. It yields the kind of its next step: set-ups run
# concurrently, because others cannot disturb what they do; measurements do not. The first step is a set-up.
SET_UP, MEASURE = "set up", "measure"
Steps = Generator[str, None, Sample]


@dataclass(frozen=True)
class Figure:
    """A measurement of all its contenders. ``measure`` takes one contender, the scale and a folder."""

    name: str
    metrics: tuple[Metric, ...]
    contenders: Sequence[Contender]
    measure: Callable[[Contender, Scale, Path], Steps]
    max_rounds: int | None = None  # where one is long and repeats itself


def contender_rows(contenders: Sequence[Contender]) -> dict[str, str]:
    """Return one row a contender."""
    return {contender.key: contender.label for contender in contenders}


def point_rows(points: Sequence[str]) -> dict[str, str]:
    """Return one row a percentile."""
    return {point: point for point in points}
