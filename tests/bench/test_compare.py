"""This tree and another revision become contenders of the same figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import runner
from bench.compare import compare, revision
from bench.contenders.base import Contender
from bench.contenders.peers import SEND_LOOP
from bench.contenders.tallycast import TALLYCAST, Tree, served_by
from bench.errors import UnavailableError
from bench.figures.base import MEASURE, Figure, Sample, Scale, Steps
from tests.bench.support import METRIC


def test_a_figure_of_ours_and_its_peers_becomes_one_of_ours_as_it_is_and_was(tmp_path: Path) -> None:
    before = replace(TALLYCAST, key="before", label="v1")

    def steps(contender: Contender, _: Scale, __: Path) -> Steps:
        yield MEASURE
        faster = 1.0 if contender is before else 3.0
        return Sample({"cost": {contender.key: faster}, "late": {"p50": faster, "max": 2 * faster}})

    late = replace(METRIC, key="late", title="late", rows={"p50": "p50", "max": "max"}, of="p50")
    both = compare(Figure("made up", (METRIC, late), (TALLYCAST, SEND_LOOP), steps), before)
    assert both is not None
    found = runner.run(both, Scale(), 1, lambda *_: None)
    assert found.failures == {}
    rows = {metric.title.format(sockets=2): found.rows(metric) for metric in both.metrics}
    assert rows == {
        "cost of 2 sockets": {"ours": [3.0], "before": [1.0]},
        "late: p50": {"ours": [3.0], "before": [1.0]},
        "late: max": {"ours": [6.0], "before": [2.0]},
    }
    assert not any(metric.budgets for metric in both.metrics)
    assert compare(Figure("others", (METRIC,), (SEND_LOOP,), steps), before) is None


@pytest.mark.parametrize("package", ["server", "server/tallycast"])
def test_another_tree_is_served_from_its_own_code(package: str, tmp_path: Path) -> None:
    """Before and after the server's package moved into the folder ``server``."""
    code = tmp_path / "code"
    (code / package).mkdir(parents=True)
    (code / package / "__init__.py").touch()
    (code / package / "__main__.py").write_text("raise SystemExit(f'the other one: {__package__}')\n")
    start = served_by(1, tree=Tree(code))
    with pytest.raises(AssertionError, match=f"the other one: {Path(package).name}"), start(tmp_path, 0):
        pass


def test_a_revision_that_git_does_not_know() -> None:
    with pytest.raises(UnavailableError, match="no-such-revision"), revision("no-such-revision"):
        pass
