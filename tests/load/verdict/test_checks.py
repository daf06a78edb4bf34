"""The oracle, the verdict and the ladder on evidence that is made up: each promise by itself."""

import pytest
from tallycast_load.client.items import StoredItem
from tallycast_load.measure import violations
from tallycast_load.measure.latency import Latencies
from tallycast_load.measure.violations import Violations
from tallycast_load.plan.thresholds import Threshold
from tallycast_load.processes.ipc import Audited, Shown, Tick
from tallycast_load.verdict import verdict
from tallycast_load.verdict.checks import Check, Evidence, judge, without_store
from tallycast_load.verdict.totals import Totals
from tallycast_load.verdict.verdict import INVALID, MISSED, PASSED, WRONG, Step, ThresholdResult, Verdict

TALLY = {0: {"like": 2}}
STORED = StoredItem("a", 20, {"like": 2, "dislike": 0})
SHOWN = Shown({0: {20: 3}}, {0: (20, {"like": 2, "dislike": 0})})


def failed(
    stored: StoredItem = STORED, shown: Shown = SHOWN, *, lost: int = 0, fault: str | None = None
) -> list[str]:
    found = Violations()
    if fault is not None:
        found.add(fault, "x")
    audited = [Audited(2, lost, [], TALLY)]
    evidence = Evidence(["a"], ["like", "dislike"], [stored], audited, [shown], found, {}, 2)
    return [check.name for check in judge(evidence) if not check.passed]


def test_nothing_is_wrong() -> None:
    assert failed() == []


@pytest.mark.parametrize("version", [-1, 10, 30])
def test_one_of_many_shows_something_else(version: int) -> None:
    """Nothing, something older, or something that the store does not have: a version lost after its frame."""
    assert failed(shown=Shown({0: {20: 3, version: 1}}, SHOWN.counts)) == ["converged"]


def test_no_reader_was_connected_at_the_end() -> None:
    """Then nothing can be said of what they would have shown: that is no pass."""
    evidence = Evidence(
        ["a"], ["like", "dislike"], [STORED], [Audited(2, 0, [], TALLY)], [Shown({}, {})], Violations(), {}, 2
    )
    checks = {check.name: check.passed for check in judge(evidence)}
    assert checks.pop("converged") is None
    assert set(checks.values()) == {True}
    assert Verdict(checks=judge(evidence)).status == verdict.ERROR


def test_one_version_has_one_set_of_counts() -> None:
    assert failed(shown=Shown({0: {20: 3}}, {0: (20, {"like": 1, "dislike": 0})})) == ["converged"]


@pytest.mark.parametrize("counts", [{}, {"like": 2}, {"like": 3, "dislike": 0}])
def test_counts_are_the_visitors_states(counts: dict[str, int]) -> None:
    assert "counts" in failed(stored=StoredItem("a", 20, counts))


def test_a_lost_reaction() -> None:
    assert failed(lost=1) == ["acked"]


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (violations.WENT_DOWN, "versions"),
        (violations.REPEATED, "versions"),
        (violations.TWO_COUNTS, "versions"),
        (violations.LOST, "closes"),
        (violations.UNANSWERED, "answers"),
        (violations.ANSWERED_TWICE, "answers"),
        (violations.WRONG_ANSWER, "answers"),
        (violations.UNREADABLE, "answers"),
        (violations.NOT_WATCHED, "answers"),
    ],
)
def test_each_fault_fails_its_check(fault: str, check: str) -> None:
    assert failed(fault=fault) == [check]


def check(name: str, passed: bool | None) -> Check:
    return Check(name, "", passed, "", [])


def test_without_the_store_nothing_that_needs_it_is_judged() -> None:
    names = ("acked", "counts", "converged", "versions", "closes", "answers")
    assert [one.passed for one in without_store([check(name, True) for name in names])] == [
        None, None, None, True, True, True,
    ]  # fmt: skip


def test_the_worst_comes_first() -> None:
    """Interrupted, then wrong, then not checked, then INVALID, then missed."""
    missed = ThresholdResult(Threshold.parse("p99<1s"), 2.0, False)
    found = Verdict(threshold_results=[missed])
    assert found.status == MISSED
    found.complaints = ["late"]
    assert found.status == INVALID
    found.unread = "gone"
    assert found.status == verdict.ERROR
    found.checks = [check("acked", None), check("counts", False)]
    assert found.status == WRONG
    found.interrupted = True
    assert found.status == verdict.INTERRUPTED


def step(rate: float, holds: bool, late: int = 0) -> Step:
    return Step(rate, (ThresholdResult(Threshold.parse("p99<1s"), 1.0, holds),), 100, late)


def test_a_ladder_tells_the_last_rate_that_held() -> None:
    climbed = Verdict(steps=[step(100, True), step(150, True), step(225, False)])
    assert climbed.best is not None
    assert (climbed.best.rate, climbed.status) == (150, PASSED)
    assert [verdict.is_finished(climbed.steps[:number]) for number in (1, 2, 3)] == [False, False, True]
    fell = Verdict(steps=[step(100, False)])
    assert (fell.status, verdict.is_finished(fell.steps)) == (MISSED, True)


def test_a_step_that_broke_while_the_generator_was_late_says_nothing() -> None:
    steps = [step(100, True), step(150, False, late=4), step(225, True), step(338, False, late=4)]
    assert [one.passed for one in steps] == [True, None, True, None]
    assert not verdict.is_finished(steps)
    best = Verdict(steps=steps).best
    assert best is not None
    assert best.rate == 225
    assert verdict.is_finished([*steps, step(506, False, late=4)])
    # Late, but good enough all the same.
    assert step(100, True, late=4).passed is True
    assert Verdict(steps=[step(100, False, late=4), step(150, True)]).status == PASSED


def tick(latencies: dict[str, dict[int, bytes]]) -> Tick:
    late, failed = {0: (100, 0), 1: (200, 0), 2: (400, 0)}, {1: 4, 2: 2}
    return Tick(0, [], 0, 0, latencies, {}, {}, {}, {}, late, failed, 0, 0, 0, 0.0, 0, {})


def test_thresholds_are_held_against_what_was_measured() -> None:
    thresholds = [Threshold.parse(text) for text in ("errors<1%", "connect.max<2s", "ack.max<2s")]
    assert [one.holds for one in verdict.judge(thresholds, Totals())] == [False, False, False]
    totals, second, three = Totals(), Latencies(), Latencies()
    second.record(1_000_000_000)
    three.record(3_000_000_000)
    latencies = {"connect": {1: second.encode()}, "ack": {1: three.encode(), 2: second.encode()}}
    totals.add(0, tick(latencies))
    # Connections belong to the whole run, reactions to their step.
    threshold_results = verdict.judge(thresholds, totals, [2])
    assert [one.value for one in threshold_results] == pytest.approx([0.005, 1.0, 1.0], rel=0.001)
    assert [one.holds for one in threshold_results] == [True, True, True]
    threshold_results = verdict.judge(thresholds, totals)
    assert [one.value for one in threshold_results] == pytest.approx([6 / 700, 1.0, 3.0], rel=0.001)
    assert [one.holds for one in threshold_results] == [True, True, False]
