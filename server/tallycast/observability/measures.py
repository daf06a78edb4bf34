"""Metrics: their names, kinds and help texts, and counters that are cheap to increment.

Owns the list of metrics, and how those of several processes are added up. The parts of a worker count in
attributes of their own, plain integers and ``Histogram``, because a delivered update costs microseconds;
``app`` reads them for each scrape. A label is never an item, a site or a visitor, whose number is unlimited.
Does not depend on what is counted where, nor on how metrics are exported.
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
    """A metric, without the prefix ``tallycast_`` and the suffix of its kind.

    ``label`` is the name of its only label, if any; ``note`` explains more in docs/operations.md.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str | None = None
    note: str = ""


# Counted by workers.
WORKERS_METRICS = (
    Metric(
        "connections", "gauge", "Open connections.", "transport", note="`ws-json`, `ws-msgpack` or `sse`."
    ),
    Metric("watched_items", "gauge", "Watched items, summed over the workers."),
    Metric(
        "updates_sent",
        "counter",
        "Updates written to watchers.",
        note="Snapshots and acknowledgements are not counted.",
    ),
    Metric(
        "updates_conflated",
        "counter",
        "Updates replaced by a newer one before they were written to a watcher.",
    ),
    Metric(
        "delivery_lag_seconds",
        "histogram",
        "Time from the commit, by the engine's clock, to the write to a watcher.",
        note="The engine's clock is known to within a round trip.",
    ),
    Metric(
        "reactions",
        "counter",
        "Reactions, by outcome.",
        "outcome",
        note="`acked`, or the code of the refusal.",
    ),
    Metric("batch_size", "histogram", "Reactions per batch sent to the engine."),
    Metric("engine_round_trip_seconds", "histogram", "Time from a command to the engine to its reply."),
    Metric("engine_failures", "counter", "Commands that the engine did not confirm."),
    Metric(
        "reconciliation_repairs",
        "counter",
        "Items with stale counts in a worker, repaired.",
        note="Expected to be 0: another mechanism should have noticed.",
    ),
    Metric("audited_items", "counter", "Items whose counts were audited."),
    Metric(
        "audit_repairs",
        "counter",
        "Items with wrong stored counts, repaired by an audit.",
        note="Expected to be 0: a defect, or another program wrote into the engine.",
    ),
    Metric(
        "audit_failures",
        "counter",
        "Items that could not be audited.",
        note="The key of an item holds other data; the log and `tallycast audit` name it.",
    ),
    Metric(
        "drifts",
        "counter",
        "Withdrawn reactions that were not counted; their items are audited at once.",
        note="Expected to be 0, as above.",
    ),
    Metric("merges_resumed", "counter", "Interrupted merges that a worker resumed."),
    Metric(
        "disconnects",
        "counter",
        "Closed WebSocket connections, by close code.",
        "code",
        note="1005: closed without a code; 1006: connection lost; `other`: any other code of the peer.",
    ),
)
# Known to the supervisor.
SERVER_METRICS = (
    Metric("engine_up", "gauge", "1 if every worker that answers is connected to the engine, else 0."),
    Metric(
        "engine_writable",
        "gauge",
        "1 if every worker that answers can write to the engine and has all permissions, else 0.",
    ),
    Metric(
        "engine_unsafe",
        "gauge",
        "1 if this setting of the engine can lose acknowledged reactions, else 0.",
        "setting",
        note="`maxmemory-policy`, `appendonly` or `appendfsync`; `everysec` is 0.",
    ),
    Metric("worker_up", "gauge", "1 if the worker answered this scrape, else 0.", "worker"),
    Metric("worker_restarts", "counter", "Restarts of workers that died."),
    Metric("build_info", "gauge", "1; the label has the version that runs.", "version"),
)


class Histogram:
    """Counts of values per bucket; ``bounds`` are the upper bounds, ascending."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        # One more than bounds, for values above all of them.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Distribution(Struct):
    """The values of a histogram at one time."""

    bounds: list[float]
    counts: list[int]
    total: float


class Snapshot(Struct):
    """The metrics of a worker at one time, by name, and then by label value ("" if it has no label)."""

    engine_up: bool = False
    engine_writable: bool = False
    # Settings of the engine that can lose acknowledged reactions.
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

    def histogram(self, name: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """Add to a histogram."""
        known = self.histograms.setdefault(name, Distribution(list(bounds), [0] * len(counts), 0.0))
        known.counts = [one + other for one, other in zip(known.counts, counts, strict=True)]
        known.total += total

    def add(self, other: "Snapshot", *, gauges: bool = True) -> None:
        """Add another snapshot; ``gauges=False``: that of a process that has ended."""
        for name, values in other.counters.items():
            self.count(name, values)
        for name, added in other.histograms.items():
            self.histogram(name, added.bounds, added.counts, added.total)
        if gauges:
            for name, values in other.gauges.items():
                self.gauge(name, values)


def _add(to: dict[str, int], values: Mapping[str, int]) -> None:
    for label, value in values.items():
        to[label] = to.get(label, 0) + value
