"""Figures name rows that exist, and measure every contender that can run.

No value is checked: machines are shared and noisy.
"""

from pathlib import Path

import pytest

from bench import runner
from bench.contenders.peers import python_module
from bench.errors import UnavailableError
from bench.figures import FIGURES
from bench.figures.base import Scale


def test_budgets_name_rows_that_exist() -> None:
    for figure in FIGURES:
        for metric in figure.metrics:
            assert metric.ratios is False or metric.of in metric.rows
            for budget in metric.budgets:
                assert {budget.of, budget.over or budget.of} <= metric.rows.keys()


def test_a_peer_that_cannot_start_is_not_available(tmp_path: Path) -> None:
    broken = python_module("no_such_module")
    with pytest.raises(UnavailableError, match="No module named"), broken(tmp_path, 0):
        pass
    missing = python_module("picows_app", "no_such_package")
    with pytest.raises(UnavailableError, match="no_such_package is not installed"), missing(tmp_path, 0):
        pass


TINY = Scale(watchers=40, seconds=0.3, crowd=200, sweeps=3)


@pytest.mark.parametrize("name", ["latency-2", "ping-2"])
def test_two_workers_are_measured_as_one_is(name: str) -> None:
    """Every ping is answered beside sweeps, every reaction shown to every watcher, nothing steps back."""
    figure = next(figure for figure in FIGURES if figure.name == name)
    found = runner.run(figure, TINY, 1, lambda *_: None)
    assert found.failures == {}
    for metric in figure.metrics:
        for row, values in found.rows(metric).items():
            assert values[0], (metric.key, row)
