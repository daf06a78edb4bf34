"""The verdict on a run: its checks, its thresholds, whether the generator kept up, and the exit status.

Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tallycast_load.plan.thresholds import Threshold
from tallycast_load.verdict import generator
from tallycast_load.verdict.checks import Check
from tallycast_load.verdict.totals import Totals

PASSED, ERROR, INVALID, WRONG, INTERRUPTED, MISSED = 0, 1, 2, 3, 130, 99


@dataclass(frozen=True)
class ThresholdResult:
    """A threshold, and the measured value."""

    threshold: Threshold
    value: float | None
    holds: bool


@dataclass(frozen=True)
class Step:
    """One step of the rate, and whether every threshold held."""

    rate: float
    threshold_results: tuple[ThresholdResult, ...]
    due: int
    late: int

    @property
    def held(self) -> bool:
        """Whether the server held this rate."""
        return all(one.holds for one in self.threshold_results)

    @property
    def passed(self) -> bool | None:
        """The same; None when it did not, and the generator did not keep up either."""
        return True if self.held else False if generator.kept_up(self.due, self.late) else None


@dataclass
class Verdict:
    """The verdict.

    ``complaints``: why the generator could not be trusted; ``unread``: why the store could not be read.
    """

    checks: list[Check] = field(default_factory=list)
    threshold_results: list[ThresholdResult] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    interrupted: bool = False
    unread: str = ""

    @property
    def status(self) -> int:
        """The exit status."""
        if self.interrupted:
            return INTERRUPTED
        if any(check.passed is False for check in self.checks):
            return WRONG
        if self.unread:
            return ERROR
        if self.complaints:
            return INVALID
        if self.undecided:
            return ERROR
        if self.steps:
            return PASSED if self.best is not None and self.steps[0].passed is not False else MISSED
        return PASSED if all(one.holds for one in self.threshold_results) else MISSED

    @property
    def undecided(self) -> list[str]:
        """Names of the checks that could not be judged."""
        return [check.name for check in self.checks if check.passed is None]

    @property
    def heading(self) -> str:
        """The exit status as a heading."""
        words = {
            PASSED: "PASS",
            ERROR: "NOT CHECKED",
            INVALID: "INVALID",
            WRONG: "FAIL",
            MISSED: "THRESHOLD MISSED",
            INTERRUPTED: "INTERRUPTED",
        }
        return words[self.status]

    @property
    def best(self) -> Step | None:
        """The last step that held."""
        held = [step for step in self.steps if step.held]
        return held[-1] if held else None


def is_finished(steps: Sequence[Step]) -> bool:
    """Whether the steps end: the last missed a threshold, or two in a row did while the generator was late.

    After one such step the next is tried: a machine that was busy for a moment says nothing about a server.
    """
    return steps[-1].passed is False or [step.passed for step in steps[-2:]] == [None, None]


def judge(
    thresholds: Sequence[Threshold], totals: Totals, stages: Sequence[int] | None = None
) -> list[ThresholdResult]:
    """Compare each threshold with the measured value."""
    threshold_results = []
    for threshold in thresholds:
        value = _value(threshold, totals, stages)
        threshold_results.append(ThresholdResult(threshold, value, threshold.holds(value)))
    return threshold_results


def _value(threshold: Threshold, totals: Totals, stages: Sequence[int] | None) -> float | None:
    if threshold.distribution != "errors":
        chosen = None if threshold.distribution == "connect" else stages
        return totals.all(threshold.distribution, chosen).at(threshold.percentile)
    return totals.errors(stages)
