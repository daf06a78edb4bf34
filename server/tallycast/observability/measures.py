"""What a server counts of itself: the list of its metrics, and plain numbers that are cheap to raise.

Owns the names, the kinds and the help of all metrics, and how the numbers of several processes are put
together. The parts of a worker count in attributes of their own, plain integers and ``Histogram``, because a
delivered update costs microseconds; ``app`` reads them when somebody asks. Must not know who counts what, nor
how metrics are served. A label is never an item, a site or a visitor: there is no end of those.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct, field

# Upper bounds in seconds.
SHORT_TIMES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
TIMES = (*SHORT_TIMES[2:], 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metric(NamedTuple):
    """One metric, without the prefix ``tallycast_`` and what the kind puts behind its name.

    ``label`` is the name of its one label, if it has one.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str | None = None


# What workers count.
WORKERS_METRICS = (
    Metric("connections", "gauge", "Open connections.", "transport"),
    Metric("watched_items", "gauge", "Items that are followed; once for each worker that does."),
    Metric("updates_sent", "counter", "Updates of counts that were written to a watcher."),
    Metric("updates_conflated", "counter", "Updates that a watcher was spared: a newer one came first."),
    Metric("delivery_lag_seconds", "histogram", "From the commit, by the engine's clock, to the write."),
    Metric("reactions", "counter", "Reactions, by what became of them.", "outcome"),
    Metric("batch_size", "histogram", "Reactions that went to the engine together."),
    Metric("engine_round_trip_seconds", "histogram", "From a command to the engine to its reply."),
    Metric("engine_failures", "counter", "Commands to the engine that were not confirmed."),
    Metric("reconciliation_repairs", "counter", "Items whose counts were behind the store, and set right."),
    Metric("audited_items", "counter", "Items on which who holds what was counted, and compared."),
    Metric("audit_repairs", "counter", "Items whose counts were not that, and set right."),
    Metric("audit_failures", "counter", "Items that could not be audited."),
    Metric(
        "drifts",
        "counter",
        "Reactions taken back that were not counted; their items are audited at once.",
    ),
    Metric("merges_resumed", "counter", "Merges that were cut off, and that a worker went on with."),
    Metric("disconnects", "counter", "WebSocket connections that ended, by close code.", "code"),
)
# What their parent knows.
SERVER_METRICS = (
    Metric("engine_up", "gauge", "1 when every worker that answers hears from the engine, else 0."),
    Metric(
        "engine_writable",
        "gauge",
        "1 when every worker that answers can write to the engine and has all rights there, else 0.",
    ),
    Metric(
        "engine_unsafe",
        "gauge",
        "1 when this setting of the engine can lose acknowledged reactions, else 0.",
        "setting",
    ),
    Metric("worker_up", "gauge", "1 when the worker answered just now, else 0.", "worker"),
    Metric("worker_restarts", "counter", "Workers that died and were started again."),
    Metric("build_info", "gauge", "1; the label is what runs.", "version"),
)


class Histogram:
    """How often a value was no more than each of ``bounds``, which rise."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        # One more than bounds, for what is above all of them.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, as if it had come so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Distribution(Struct):
    """A histogram at one moment."""

    bounds: list[float]
    counts: list[int]
    total: float


class Snapshot(Struct):
    """All numbers of a worker at one moment, by metric, and then by label (empty where it has none)."""

    engine_up: bool = False
    engine_writable: bool = False
    # Settings with which acknowledged reactions can be lost.
    engine_unsafe: list[str] = field(default_factory=list)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    gauges: dict[str, dict[str, int]] = field(default_factory=dict)
    histograms: dict[str, Distribution] = field(default_factory=dict)

    def count(self, name: str, values: Mapping[str, int]) -> None:
        """Add to a counter."""
        _add(self.counters.setdefault(name, {}), values)

    def gauge(self, name: str, values: Mapping[str, int]) -> None:
        """Add to a gauge."""
        _add(self.gauges.setdefault(name, {}), values)

    def spread(self, name: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """Add to a histogram."""
        known = self.histograms.setdefault(name, Distribution(list(bounds), [0] * len(counts), 0.0))
        known.counts = [one + other for one, other in zip(known.counts, counts, strict=True)]
        known.total += total

    def add(self, other: "Snapshot", *, gauges: bool = True) -> None:
        """Add another's numbers; without ``gauges`` those of a process that is gone."""
        for name, values in other.counters.items():
            self.count(name, values)
        for name, spread in other.histograms.items():
            self.spread(name, spread.bounds, spread.counts, spread.total)
        if gauges:
            for name, values in other.gauges.items():
                self.gauge(name, values)


def _add(to: dict[str, int], values: Mapping[str, int]) -> None:
    for label, value in values.items():
        to[label] = to.get(label, 0) + value
