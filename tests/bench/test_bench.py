"""The bench counts right and shows what it counted: its arithmetic, its table, and one tiny real run.

No figure is checked: machines are shared and noisy.
"""

import io
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import programs, runner
from bench.against import compared, revision
from bench.contenders.base import Contender, Running
from bench.contenders.ours import OURS, Tree, react, served_by
from bench.contenders.peers import FLOOR, WEBSOCKETS
from bench.errors import Unavailable, Wrong
from bench.figures import FIGURES
from bench.figures.base import (
    MEASURE,
    SET_UP,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    broadcast,
    check_broadcast,
    exchange,
    open_senders,
    open_watchers,
)
from bench.load import AWAY, SENDERS, STOPPED, WATCHERS, Load
from bench.report import chart, data, table
from bench.results import Found, Results
from bench.stats import Budget, Rounds, Spread, Verdict, judge, number, ratios, spread
from bench.usage import connections, cpu, metered, resident

# Pure


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
        (Budget(9.9, over="nobody"), Verdict.UNKNOWN),
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
    assert [number(value) for value in (0, 0.0421, 9.99, 12.345, 1234.5)] == [
        "0",
        "0.042",
        "9.99",
        "12.3",
        "1,234",
    ]


def test_every_contender_is_first_in_turn() -> None:
    first = [runner.in_turn([OURS, FLOOR, WEBSOCKETS], turn)[0] for turn in range(4)]
    assert first == [OURS, FLOOR, WEBSOCKETS, OURS]


def test_budgets_name_rows_that_exist() -> None:
    for figure in FIGURES:
        for metric in figure.metrics:
            assert metric.ratios is False or metric.of in metric.rows
            for budget in metric.budgets:
                assert {budget.of, budget.over or budget.of} <= metric.rows.keys()


# Rounds and reports

METRIC = Metric(
    "cost",
    "cost of {sockets:,} sockets",
    "cost",
    "µs",
    {"ours": "Tallycast", "fast": "a fast one", "slow": "a slow one", "gone": "a <lost> one"},
    (Budget(1.0, over="fast"), Budget(1.0, over="slow"), Budget(1.0, over="gone")),
)
COSTS = {"ours": 2.0, "fast": 1.0, "slow": 4.0}


def measured(contender: Contender, _: Scale, __: Path) -> Steps:
    yield MEASURE
    if contender.key == "gone":
        raise Unavailable("gone is not installed")
    if contender.key == "wrong":
        raise Wrong("3 updates instead of 4")
    sample = Sample({"cost": {contender.key: COSTS[contender.key]}})
    sample.note("cost", "{:.1f} of it for nothing", 0.5)
    return sample


@pytest.fixture
def results() -> Results:
    keys = [*METRIC.rows, "wrong"]
    figure = Figure("made up", (METRIC,), [replace(FLOOR, key=key, label=key) for key in keys], measured)
    said: list[str] = []
    found = runner.take(figure, Scale(), 5, lambda label, _, last: said.append(label) if last else None)
    assert len(said) == 25
    return Results(Scale(), 5, {"python": "3"}, ["a remark"], [found])


def test_who_cannot_be_measured_is_not_dropped(results: Results) -> None:
    found: Found = results.found[0]
    assert found.absent == {"gone": "gone is not installed"}
    assert found.wrong == {"wrong": ["3 updates instead of 4"] * 5}
    assert found.rows(METRIC)["slow"] == [4.0] * 5
    assert results.count() == {Verdict.HOLDS: 1, Verdict.MISSED: 1, Verdict.UNKNOWN: 1}


def test_set_ups_are_done_together_and_measurements_alone() -> None:
    together = threading.Barrier(runner.TOGETHER)
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
    figure = Figure("made up", (METRIC,), [replace(FLOOR, key=key, label=key) for key in keys], steps)
    found = runner.take(figure, Scale(), 1, lambda *_: None)
    assert found.wrong == {}
    assert measured == keys * 2


def test_a_figure_may_need_fewer_rounds_than_asked_for() -> None:
    figure = Figure("made up", (METRIC,), [replace(FLOOR, key="ours")], measured, enough=2)
    assert [runner.rounds_of(figure, rounds) for rounds in (1, 2, 5)] == [1, 2, 2]
    assert runner.take(figure, Scale(), 5, lambda *_: None).rows(METRIC)["ours"] == [2.0, 2.0]


def test_the_table_shows_budgets_beside_figures_and_which_hold(results: Results) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    table.show(console, results, results.found[0])
    console.print(table.summary(results))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "cost of 2,000 sockets" in text
    for wanted in (
        ["a fast one", "2.00× (2.00–2.00)", "≤ 1.0× ✘ MISSED"],
        ["a slow one", "0.500× (0.500–0.500)", "≤ 1.0× ✔ holds"],
        ["a <lost> one", "–", "≤ 1.0× ? unknown"],
        ["a <lost> one: not available: gone is not installed"],
        ["wrong: failed in 5 of 5 rounds: 3 updates instead of 4"],
        ["0.5 of it for nothing"],
        ["1 of 3 budgets hold, 1 missed, 1 not measured"],
        ["a remark"],
    ):
        assert any(all(part in line for part in wanted) for line in lines), wanted


def test_results_and_chart_are_well_formed(results: Results, tmp_path: Path) -> None:
    data.write(results, tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    rows = document["figures"]["made up"]["metrics"]["cost"]["rows"]
    assert rows["fast"]["ratio"] == {"median": 2.0, "least": 2.0, "most": 2.0, "rounds": 5}
    assert rows["gone"]["rounds"] == [None] * 5
    for name in ("chart.svg", "chart.html"):
        chart.write(results, tmp_path / name)
    ElementTree.parse(tmp_path / "chart.svg")
    assert "gone is not installed" in (tmp_path / "chart.html").read_text()
    assert "1 of 3 budgets hold" in (tmp_path / "chart.svg").read_text()


# Real


def test_cpu_is_what_the_process_itself_sees() -> None:
    with metered({"me": os.getpid()}) as used:
        before = time.process_time()
        while time.process_time() - before < 0.05:
            pass
    assert 0.05 <= used["me"] < 0.1
    assert cpu(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)
    assert resident(os.getpid()) > 1_000_000


@contextmanager
def running(contender: Contender, folder: Path) -> Iterator[tuple[Running, Load]]:
    with contender.start(folder, 3) as started, Load(started.port) as load:
        open_senders(load, contender, started, 3)
        yield started, load


def test_the_load_counts_what_ours_delivers(tmp_path: Path) -> None:
    dialect = OURS.dialect
    with running(OURS, tmp_path) as (started, load):
        open_watchers(load, dialect, 6, 3)
        broadcast(load, dialect, 4, 3)
        check_broadcast(load, dialect, 4, 6)
        assert load.tell("rest", seconds=0.01)["replies"] == 4 * 3
        load.close(WATCHERS)
        with metered(started.processes) as used:
            assert exchange(load, dialect, 30, react("many"), 5)["replies"] == 30
        assert used["server"] > 0
        assert used["engine"] > 0
        open_watchers(load, dialect, 4, 2, place="late")
        words = {"message": react("late"), "reply": dialect.reply, "update": dialect.match}
        answer = load.tell("rate", rate=100, seconds=0.2, items=2, latency=1, **words)
        # Twenty reactions to two items with two watchers each, every one of them shown to both.
        assert (answer["replies"], answer["samples"], answer["missing"]) == (20, 40, 0)
        assert 0 < answer["p50"] <= answer["max"]


def test_the_load_notices_a_peer_that_cheats(tmp_path: Path) -> None:
    dialect = WEBSOCKETS.dialect
    with running(WEBSOCKETS, tmp_path) as (_, load):
        open_watchers(load, dialect, 6, 3)
        broadcast(load, dialect, 5, 3)
        check_broadcast(load, dialect, 5, 6)
        with pytest.raises(Wrong, match="instead of 96"):
            check_broadcast(load, replace(dialect, size=96), 5, 6)
        # Every item three times, as if it were three items.
        twice = replace(dialect, trigger=dialect.trigger.replace("$I", "000"))
        load.close(WATCHERS)
        open_watchers(load, dialect, 2)
        broadcast(load, twice, 1, 3)
        with pytest.raises(Wrong, match="6 updates instead of 2, 4 of them twice"):
            check_broadcast(load, twice, 1, 2)
        # To nobody.
        answer = load.tell("broadcast", rounds=1, messages=1, message="x|y", match=dialect.match, timeout=0.2)
        assert answer["rounds"] == 0
        with pytest.raises(Wrong, match="only 0 of 2 connections"):
            load.open(SENDERS, 2, path="/", ready="never", timeout=0.2)


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "BUILD", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Unavailable, match="no-such-compiler is not found"):
        programs.program("load")


def test_a_peer_that_cannot_start_is_not_available(tmp_path: Path) -> None:
    from bench.contenders import peers

    broken = peers._python("no_such_module")
    with pytest.raises(Unavailable, match="No module named"), broken(tmp_path, 0):
        pass
    missing = peers._python("picows_app", "no_such_package")
    with pytest.raises(Unavailable, match="no_such_package is not installed"), missing(tmp_path, 0):
        pass


def test_the_load_times_pings_until_it_is_told_something_else(tmp_path: Path) -> None:
    with running(OURS, tmp_path) as (_, load):
        with load.meanwhile(
            "ping", every=0.01, message='{"type":"ping","ref":$N}', reply='{"type":"pong"'
        ) as found:
            time.sleep(0.1)
        assert found["replies"] == found["sent"] > 1
        assert 0 < found["p50"] <= found["p99"] <= found["max"]
        assert exchange(load, OURS.dialect, 3, react("after"), 1)["replies"] == 3


def test_the_load_stops_reading_and_reads_again(tmp_path: Path) -> None:
    dialect = OURS.dialect
    with running(OURS, tmp_path) as (started, load):
        before = connections(started.port)
        open_watchers(load, dialect, 4)
        open_watchers(load, dialect, 2, group=STOPPED, buffer=4096)
        open_watchers(load, dialect, 1, group=AWAY, buffer=4096)
        assert connections(started.port) == before + 7
        load.tell("pause", group=STOPPED)
        words = {"message": react("bench"), "reply": dialect.reply, "update": dialect.match}
        times = {"from": 0.1, "until": 0.3}
        answer = load.tell("rate", rate=200, seconds=0.5, latency=1, **times, **words)
        # Only those that read all the time are samples; whoever stopped and came back has caught up.
        assert (answer["samples"], answer["missing"], answer["backwards"]) == (400, 0, 0)
        assert answer["behind"] == 0
        assert answer["back"] >= 0


TINY = Scale(watchers=40, seconds=0.3, crowd=200, sweeps=3)


@pytest.mark.parametrize("name", ["latency-2", "ping-2"])
def test_two_workers_are_measured_as_one_is(name: str) -> None:
    """Every ping is answered beside sweeps, every reaction shown to every watcher, nothing steps back."""
    figure = next(figure for figure in FIGURES if figure.name == name)
    found = runner.take(figure, TINY, 1, lambda *_: None)
    assert found.wrong == {}
    for metric in figure.metrics:
        for row, values in found.rows(metric).items():
            assert values[0], (metric.key, row)


# Against another revision


def test_a_figure_of_ours_and_its_peers_becomes_one_of_ours_as_it_is_and_was(tmp_path: Path) -> None:
    before = replace(OURS, key="before", label="v1")

    def steps(contender: Contender, _: Scale, __: Path) -> Steps:
        yield MEASURE
        faster = 1.0 if contender is before else 3.0
        return Sample({"cost": {contender.key: faster}, "late": {"p50": faster, "max": 2 * faster}})

    late = replace(METRIC, key="late", title="late", rows={"p50": "p50", "max": "max"}, of="p50")
    both = compared(Figure("made up", (METRIC, late), (OURS, FLOOR), steps), before)
    assert both is not None
    found = runner.take(both, Scale(), 1, lambda *_: None)
    assert found.wrong == {}
    rows = {metric.title.format(sockets=2): found.rows(metric) for metric in both.metrics}
    assert rows == {
        "cost of 2 sockets": {"ours": [3.0], "before": [1.0]},
        "late: p50": {"ours": [3.0], "before": [1.0]},
        "late: max": {"ours": [6.0], "before": [2.0]},
    }
    assert not any(metric.budgets for metric in both.metrics)
    assert compared(Figure("others", (METRIC,), (FLOOR,), steps), before) is None


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
    with pytest.raises(Unavailable, match="no-such-revision"), revision("no-such-revision"):
        pass
