"""The sums of what all processes reported, in total and second by second.

Pure. Does not depend on how results are shown.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tallycast_load.measure.latency import Latencies
from tallycast_load.measure.violations import Violations
from tallycast_load.plan.thresholds import DISTRIBUTIONS
from tallycast_load.processes.ipc import Tick

POINTS = {"p50": 50.0, "p99": 99.0, "max": 100.0}


@dataclass
class Moment:
    """One second of the run: rates per second, latencies, and the load of the harness."""

    at: float  # seconds since the connections began to open, or since the warm-up began
    clock: float  # the same moment in seconds of the monotonic clock
    phase: str
    up: int
    rates: dict[str, float]
    latencies: dict[str, dict[str, float | None]]
    cpu: list[float]  # share of a core, by process
    late: float  # share of this second's reactions that were sent late
    target: float = 0.0  # the scheduled rate


@dataclass
class Totals:
    """The sums. ``ticks`` holds each process's last tick."""

    ticks: dict[int, Tick] = field(default_factory=dict)
    latencies: dict[str, dict[int, Latencies]] = field(
        default_factory=lambda: {name: {} for name in DISTRIBUTIONS}
    )
    violations: Violations = field(default_factory=Violations)
    moments: list[Moment] = field(default_factory=list)
    _window: dict[str, Latencies] = field(default_factory=dict)
    _before: dict[str, int] = field(default_factory=dict)
    _at: int = 0
    _cpu: dict[int, tuple[int, float]] = field(default_factory=dict)

    def add(self, number: int, tick: Tick) -> None:
        """Add a tick of a process."""
        self.ticks[number] = tick
        self.violations.merge(tick.violations)
        for name, stages in tick.latencies.items():
            for stage, encoded in stages.items():
                added = Latencies(encoded)
                known = self.latencies[name].setdefault(stage, Latencies())
                known.add(added)
                self._window.setdefault(name, Latencies()).add(added)

    def all(self, distribution: str, stages: Iterable[int] | None = None) -> Latencies:
        """A distribution, of some stages or all."""
        total = Latencies()
        for stage, latencies in self.latencies[distribution].items():
            if stages is None or stage in stages:
                total.add(latencies)
        return total

    def count(self, name: str) -> int:
        """A counter of all processes."""
        return sum(tick.counters.get(name, 0) for tick in self.ticks.values())

    def sum(self, name: str) -> int:
        """A field of the last ticks, of all processes."""
        return sum(getattr(tick, name) for tick in self.ticks.values())

    def counted(self, name: str) -> Counter[Any]:
        """Counts by reason or code, of all processes."""
        total: Counter[Any] = Counter()
        for tick in self.ticks.values():
            total.update(getattr(tick, name))
        return total

    def late(self, stages: Iterable[int] | None = None) -> tuple[int, int]:
        """How many reactions were due in these stages, and how many were sent late."""
        every = late = 0
        for tick in self.ticks.values():
            for stage, (due, behind) in tick.late.items():
                if stages is None or stage in stages:
                    every, late = every + due, late + behind
        return every, late

    def errors(self, stages: Iterable[int] | None = None) -> float | None:
        """The share of the reactions due in these stages that the server did not acknowledge."""
        due, _ = self.late(stages)
        failed = sum(
            number
            for tick in self.ticks.values()
            for stage, number in tick.failed.items()
            if stages is None or stage in stages
        )
        return failed / due if due else None

    def moment(self, phase: str, start: int, now: int, target: float) -> Moment:
        """Close a second."""
        late = self.late()
        counts = {name: self.count(name) for name in ("sent", "acked", "updates", "reconnects", "cut off")}
        counts["refused"] = sum(self.counted("refused").values())
        counts["due"], counts["late"] = late
        passed = (now - self._at) / 1e9 if self._at else 1.0
        deltas = {name: number - self._before.get(name, 0) for name, number in counts.items()}
        moment = Moment(
            at=(now - start) / 1e9,
            clock=now / 1e9,
            phase=phase,
            up=self.sum("up"),
            rates={name: number / passed for name, number in deltas.items()},
            latencies={
                name: self._window[name].points(POINTS) if name in self._window else dict.fromkeys(POINTS)
                for name in DISTRIBUTIONS
            },
            cpu=self._cpu_shares(),
            late=deltas["late"] / deltas["due"] if deltas["due"] else 0.0,
            target=target,
        )
        self._window, self._before, self._at = {}, counts, now
        self.moments.append(moment)
        return moment

    def _cpu_shares(self) -> list[float]:
        shares = []
        for number, tick in sorted(self.ticks.items()):
            at, cpu = self._cpu.get(number, (tick.at - 1_000_000_000, tick.cpu))
            passed = (tick.at - at) / 1e9
            shares.append((tick.cpu - cpu) / passed if passed > 0 else 0.0)
            self._cpu[number] = (tick.at, tick.cpu)
        return shares
