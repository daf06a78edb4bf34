"""Table, JSON and chart show values, budgets and failures."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console

from bench.report import chart, data, table
from bench.results import Results


def test_the_table_shows_budgets_beside_figures_and_which_hold(results: Results) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    table.show(console, results, results.figures[0])
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
