"""The results of a figure that is made up."""

from dataclasses import replace

import pytest

from bench import runner
from bench.contenders.peers import SEND_LOOP
from bench.figures.base import Figure, Scale
from bench.results import Results
from tests.bench.support import METRIC, measured


@pytest.fixture
def results() -> Results:
    keys = [*METRIC.rows, "wrong"]
    figure = Figure("made up", (METRIC,), [replace(SEND_LOOP, key=key, label=key) for key in keys], measured)
    said: list[str] = []
    found = runner.run(figure, Scale(), 5, lambda label, _, last: said.append(label) if last else None)
    assert len(said) == 25
    return Results(Scale(), 5, {"python": "3"}, ["a remark"], [found])
