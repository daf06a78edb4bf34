"""The results of a run.

Owns the samples by figure, contender and round, and the reasons why contenders have none. Does not depend on
how results are shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from bench.figures.base import Figure, Metric, Sample, Scale
from bench.stats import Budget, Rounds, Spread, Verdict, judge


@dataclass
class FigureResult:
    """The samples of one figure."""

    figure: Figure
    rounds: int
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)  # by contender, one a round
    unavailable: dict[str, str] = field(default_factory=dict)  # reasons, by contender
    failures: dict[str, list[str]] = field(default_factory=dict)  # reasons, by contender
    seconds: float = 0.0  # that it took

    def add(self, contender: str, turn: int, sample: Sample) -> None:
        """Store the sample of a round, counted from 0."""
        self.samples.setdefault(contender, [None] * self.rounds)[turn] = sample

    def rows(self, metric: Metric) -> dict[str, Rounds]:
        """Return the values of each row, one a round."""
        return {row: self._values(metric.key, row) for row in metric.rows}

    def reason(self, row: str) -> str:
        """Return why a row lacks values; empty when nothing failed."""
        if row in self.unavailable:
            return f"not available: {self.unavailable[row]}"
        failures = self.failures.get(row, [])
        return f"failed in {len(failures)} of {self.rounds} rounds: {failures[0]}" if failures else ""

    def notes(self, metric: Metric) -> list[str]:
        """Return the lines below a table, with the medians of their numbers."""
        collected: dict[str, list[float]] = {}
        for _, sample in self._samples():
            for text, value in sample.notes.get(metric.key, {}).items():
                collected.setdefault(text, []).append(value)
        return [text.format(median(values)) for text, values in collected.items()]

    def verdicts(self, metric: Metric) -> list[tuple[Budget, Verdict, Spread | None]]:
        """Return each budget of a metric with its verdict and the spread that it is about."""
        rows = self.rows(metric)
        return [(budget, *judge(budget, rows)) for budget in metric.budgets]

    def _values(self, metric: str, row: str) -> Rounds:
        values: list[float | None] = [None] * self.rounds
        for turn, sample in self._samples():
            if row in sample.values.get(metric, {}):
                values[turn] = sample.values[metric][row]
        return values

    def _samples(self) -> Iterator[tuple[int, Sample]]:
        for samples in self.samples.values():
            for turn, sample in enumerate(samples):
                if sample is not None:
                    yield turn, sample


@dataclass
class Results:
    """A whole run. ``machine`` describes what it ran on."""

    scale: Scale
    rounds: int
    machine: Mapping[str, object]
    remarks: list[str] = field(default_factory=list)
    figures: list[FigureResult] = field(default_factory=list)

    def title(self, metric: Metric) -> str:
        """Return the title of a metric with the numbers of this run."""
        return metric.title.format(**vars(self.scale))

    def count(self) -> dict[Verdict, int]:
        """Return the number of budgets by verdict."""
        counts = dict.fromkeys(Verdict, 0)
        for result in self.figures:
            for metric in result.figure.metrics:
                for _, verdict, _ in result.verdicts(metric):
                    counts[verdict] += 1
        return counts
