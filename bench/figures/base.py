"""The terms of a figure, and the steps that several figures share.

Owns what is checked of a load's answers: a figure counts only when every message arrived, once and whole.
Must not know one figure from another, nor how results are shown.
"""

import http.client
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contenders.base import Contender, Dialect, Running
from bench.errors import Wrong
from bench.load import SENDERS, WATCHERS, Load
from bench.stats import Budget

MICRO = 1e6


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    passes: int = 4  # turns that each contender takes in a round, where they take turns
    sockets: int = 2000  # fan-out and accept
    items: int = 200  # fan-out over many items
    broadcasts: int = 4  # a pass
    idle: int = 10_000
    visitors: int = 256  # who react, one unanswered reaction each
    reactions: int = 5_000  # a pass
    catalogue: int = 1000  # items that are reacted to
    watchers: int = 1000  # of the hot item
    seconds: float = 2.0  # of reactions at a rate, for latency
    heat: float = 1.5  # the same, for what a hot item costs
    stopped: int = 50  # of the watchers never read
    endurance: float = 20.0  # seconds of reactions meanwhile
    crowd: int = 20_000  # watchers that are swept while another client pings
    sweeps: int = 20


QUICK = Scale(
    passes=3,
    sockets=500,
    items=50,
    idle=1000,
    reactions=1000,
    watchers=200,
    seconds=1.0,
    heat=1.0,
    stopped=20,
    endurance=3.0,
    crowd=2000,
    sweeps=5,
)


@dataclass
class Sample:
    """What one contender gave in one round: for each metric its rows, and what else is worth a line."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, dict[str, float]] = field(default_factory=dict)

    def note(self, metric: str, text: str, value: float) -> None:
        """``text`` has a place for the number."""
        self.notes.setdefault(metric, {})[text] = value


@dataclass(frozen=True)
class Metric:
    """One block of the table: rows, of which ``of`` is compared with the others."""

    key: str
    title: str
    short: str  # the title where there is less room
    unit: str
    rows: dict[str, str]
    budgets: tuple[Budget, ...] = ()
    of: str = "ours"
    ratios: bool = True  # whether dividing by the other rows says anything


# A measurement of one contender: wherever it yields, others may take their turn, so that what disturbs the
# machine for some seconds disturbs them alike. It says what its next step is: in one that sets something up
# nothing is measured that others could disturb, and several contenders take it at the same time. So is the
# first.
SET_UP, MEASURE = "set up", "measure"
Steps = Generator[str, None, Sample]


@dataclass(frozen=True)
class Figure:
    """Something to measure, for all contenders."""

    name: str
    metrics: tuple[Metric, ...]
    contenders: Sequence[Contender]
    measure: Callable[[Contender, Scale, Path], Steps]
    enough: int | None = None  # rounds, where one is long and repeats itself


def rows_of(contenders: Sequence[Contender]) -> dict[str, str]:
    """A row for each contender."""
    return {contender.key: contender.label for contender in contenders}


def open_watchers(
    load: Load,
    dialect: Dialect,
    count: int,
    items: int = 1,
    *,
    window: int | None = None,
    place: str = "bench",
    group: int = WATCHERS,
    buffer: int | None = None,
) -> None:
    """Open connections that watch, spread over the items; ``window`` bounds how many are on their way.

    ``place`` is how the items' names begin; ``buffer`` what the kernel takes for each of them (bytes).
    """
    load.open(
        group,
        count,
        path=dialect.path.replace("bench", place),
        items=items,
        window=window or count,
        protocol=dialect.protocol,
        hellos=[dialect.hello] if dialect.hello else (),
        ready=dialect.ready,
        timeout=60,
        buffer=buffer,
    )


def open_senders(load: Load, contender: Contender, running: Running, count: int) -> None:
    """Open connections that trigger or react, and watch nothing."""
    dialect = contender.dialect
    hellos = running.hellos or ([dialect.hello] if dialect.hello else ())
    load.open(
        SENDERS,
        count,
        path=dialect.plain,
        protocol=dialect.protocol,
        hellos=hellos,
        ready='{"type":"ready"' if running.hellos else dialect.ready,
    )


def broadcast(load: Load, dialect: Dialect, rounds: int, items: int) -> None:
    """Let every watcher get so many updates, each when the last watcher has the one before it.

    Raises:
        Wrong: an update did not come.
    """
    answer = load.tell(
        "broadcast",
        rounds=rounds,
        messages=items,
        message=dialect.trigger,
        match=dialect.match,
        reply=dialect.reply,
        timeout=20,
    )
    if answer["rounds"] != rounds:
        raise Wrong(f"only {answer['rounds']} of {rounds} updates reached everyone in time")


def check_broadcast(load: Load, dialect: Dialect, rounds: int, watchers: int) -> None:
    """Make sure that the last broadcast brought exactly what it should have; waits for what comes late.

    Raises:
        Wrong: updates were lost, sent twice, or of another size.
    """
    answer = load.tell("rest", seconds=0.02)
    wanted = rounds * watchers
    if answer["matched"] != wanted or answer["extra"]:
        raise Wrong(f"{answer['matched']:,} updates instead of {wanted:,}, {answer['extra']:,} of them twice")
    if answer["bytes"] != wanted * dialect.size:
        raise Wrong(f"updates of {answer['bytes'] / wanted:.1f} bytes instead of {dialect.size}")


def exchange(load: Load, dialect: Dialect, total: int, message: str, items: int) -> dict[str, Any]:
    """Let the senders send so many messages, each when its last one is answered.

    Raises:
        Wrong: not all were answered.
    """
    answer = load.tell("closed", total=total, items=items, message=message, reply=dialect.reply, timeout=60)
    if answer["replies"] != total:
        raise Wrong(f"{answer['replies']:,} answers to {total:,} messages")
    return answer


def check_store(port: int, place: str, visitors: int) -> None:
    """Make sure that every visitor counts once on the first item of a place.

    Raises:
        Wrong: the store says otherwise.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/v1/items?item={place}-000")
    answer: Any = json.loads(connection.getresponse().read())
    connection.close()
    counted = sum(answer["items"][0]["counts"].values())
    if counted != visitors:
        raise Wrong(f"the store counts {counted:,} visitors instead of {visitors:,}")
