"""What a run has found so far.

Owns the collection of samples round by round, and the account of who was not measured and why. Must not know
how anything is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from bench.figures.base import Figure, Metric, Sample, Scale
from bench.stats import Budget, Rounds, Spread, Verdict, judge


@dataclass
class Found:
    """One figure's samples."""

    figure: Figure
    rounds: int
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)  # by contender, one a round
    absent: dict[str, str] = field(default_factory=dict)  # contenders that are not available, and why
    wrong: dict[str, list[str]] = field(default_factory=dict)  # what went wrong, by contender
    seconds: float = 0.0  # that it took

    def add(self, contender: str, turn: int, sample: Sample) -> None:
        """Take the sample of a round, counted from 0."""
        self.samples.setdefault(contender, [None] * self.rounds)[turn] = sample

    def rows(self, metric: Metric) -> dict[str, Rounds]:
        """The values of each row, one a round."""
        return {row: self._values(metric.key, row) for row in metric.rows}

    def reasons(self, row: str) -> str:
        """Why a row has no values, or not all of them."""
        if row in self.absent:
            return f"not available: {self.absent[row]}"
        found = self.wrong.get(row, [])
        return f"failed in {len(found)} of {self.rounds} rounds: {found[0]}" if found else ""

    def notes(self, metric: Metric) -> list[str]:
        """The lines below a block, with the medians of their numbers."""
        collected: dict[str, list[float]] = {}
        for samples in self.samples.values():
            for sample in samples:
                if sample is not None:
                    for text, value in sample.notes.get(metric.key, {}).items():
                        collected.setdefault(text, []).append(value)
        return [text.format(median(values)) for text, values in collected.items()]

    def verdicts(self, metric: Metric) -> list[tuple[Budget, Verdict, Spread | None]]:
        """Each budget of a metric, what became of it, and what was measured."""
        rows = self.rows(metric)
        return [(budget, *judge(budget, rows)) for budget in metric.budgets]

    def _values(self, metric: str, row: str) -> Rounds:
        values: list[float | None] = [None] * self.rounds
        for samples in self.samples.values():
            for turn, sample in enumerate(samples):
                if sample is not None and row in sample.values.get(metric, {}):
                    values[turn] = sample.values[metric][row]
        return values


@dataclass
class Results:
    """A whole run. ``about`` says on what machine, with which versions."""

    scale: Scale
    rounds: int
    about: Mapping[str, object]
    remarks: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def title(self, metric: Metric) -> str:
        """A metric's title with the numbers of this run."""
        return metric.title.format(**vars(self.scale))

    def count(self) -> dict[Verdict, int]:
        """How many budgets hold, and how many do not."""
        counted = dict.fromkeys(Verdict, 0)
        for found in self.found:
            for metric in found.figure.metrics:
                for _, verdict, _ in found.verdicts(metric):
                    counted[verdict] += 1
        return counted
