"""The runner alternates contenders and records which of them failed."""

import threading
from dataclasses import replace
from pathlib import Path

from bench import runner
from bench.contenders.base import Contender
from bench.contenders.peers import SEND_LOOP, WEBSOCKETS
from bench.contenders.tallycast import TALLYCAST
from bench.figures.base import MEASURE, SET_UP, Figure, Sample, Scale, Steps
from bench.results import FigureResult, Results
from bench.stats import Verdict
from tests.bench.support import METRIC, measured


def test_every_contender_is_first_in_turn() -> None:
    first = [runner.rotate([TALLYCAST, SEND_LOOP, WEBSOCKETS], turn)[0] for turn in range(4)]
    assert first == [TALLYCAST, SEND_LOOP, WEBSOCKETS, TALLYCAST]


def test_a_contender_that_cannot_be_measured_is_not_dropped(results: Results) -> None:
    found: FigureResult = results.figures[0]
    assert found.unavailable == {"gone": "gone is not installed"}
    assert found.failures == {"wrong": ["3 updates instead of 4"] * 5}
    assert found.rows(METRIC)["slow"] == [4.0] * 5
    assert results.count() == {Verdict.HOLDS: 1, Verdict.MISSED: 1, Verdict.UNKNOWN: 1}


def test_set_ups_are_done_together_and_measurements_alone() -> None:
    together = threading.Barrier(runner.CONCURRENT_SETUPS)
    measured: list[str] = []

    def steps(contender: Contender, _: Scale, __: Path) -> Steps:
        for _ in range(2):
            together.wait(timeout=10)  # Ends only when another set-up is under way.
            yield MEASURE
            assert threading.current_thread() is threading.main_thread()
            measured.append(contender.key)
            yield SET_UP
        return Sample({"cost": {contender.key: 1.0}})

    keys = ["ours", "fast", "slow", "gone"]
    figure = Figure("made up", (METRIC,), [replace(SEND_LOOP, key=key, label=key) for key in keys], steps)
    found = runner.run(figure, Scale(), 1, lambda *_: None)
    assert found.failures == {}
    assert measured == keys * 2


def test_a_figure_may_need_fewer_rounds_than_asked_for() -> None:
    figure = Figure("made up", (METRIC,), [replace(SEND_LOOP, key="ours")], measured, max_rounds=2)
    assert [runner.rounds_of(figure, rounds) for rounds in (1, 2, 5)] == [1, 2, 2]
    assert runner.run(figure, Scale(), 5, lambda *_: None).rows(METRIC)["ours"] == [2.0, 2.0]
