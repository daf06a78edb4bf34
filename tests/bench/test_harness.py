"""The measure of what the harness costs: it and the bare loop read every update, of the same connections."""

from dataclasses import replace

from bench import runner
from bench.figures.base import Scale
from bench.figures.watcher import FIGURE, ROWS
from bench.results import FigureResult

OWN, ALL, MEMORY = FIGURE.metrics


def take(sockets: int) -> FigureResult:
    return runner.run(FIGURE, replace(Scale(), sockets=sockets, passes=1), 1, lambda *_: None)


def test_both_read_every_update() -> None:
    found = take(20)
    assert found.failures == {}
    rows = found.rows(ALL)
    assert rows.keys() == ROWS.keys()
    # Ticks decide whose a microsecond was; that some were used is certain.
    assert all(value is not None and value > 0 for (value,) in rows.values())
    assert all(value is not None for (value,) in found.rows(OWN).values())


def test_a_measurement_that_failed_says_why() -> None:
    assert take(0).failures["ours"][0].startswith("the measurement of the harness failed: ")
