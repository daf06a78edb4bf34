"""Spreads, ratios, budgets and the format of numbers."""

import pytest

from bench.stats import Budget, Rounds, Spread, Verdict, format_number, judge, ratios, spread


def test_spread_is_the_median_with_least_and_most() -> None:
    assert spread([3.0, 1.0, None, 9.0]) == Spread(3.0, 1.0, 9.0, 3)
    assert spread([4.0, 2.0]) == Spread(3.0, 2.0, 4.0, 2)
    assert spread([None]) is None


def test_ratios_are_taken_round_by_round() -> None:
    # The median of ratios, not the ratio of medians: both rows are slow in the same round.
    assert ratios([1.0, 10.0, None, 1.0], [2.0, 20.0, 1.0, None]) == [0.5, 0.5, None, None]
    assert ratios([1.0], [0.0]) == [None]


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        (Budget(1.5, over="peer"), Verdict.HOLDS),
        (Budget(1.4, over="peer"), Verdict.MISSED),
        (Budget(3.0), Verdict.HOLDS),
        (Budget(2.9), Verdict.MISSED),
        (Budget(9.9, over="missing"), Verdict.UNKNOWN),
        (Budget(9.9, over="silent"), Verdict.UNKNOWN),
        (Budget(2.0, of="peer"), Verdict.HOLDS),
    ],
)
def test_the_median_decides_a_budget(budget: Budget, verdict: Verdict) -> None:
    rows: dict[str, Rounds] = {
        "ours": [1.0, 3.0, 90.0],
        "peer": [1.0, 2.0, 2.0],
        "silent": [None, None, None],
    }
    assert judge(budget, rows)[0] is verdict


def test_numbers_are_as_long_as_they_mean_something() -> None:
    assert [format_number(value) for value in (0, 0.0421, 9.99, 12.345, 1234.5)] == [
        "0",
        "0.042",
        "9.99",
        "12.3",
        "1,234",
    ]
