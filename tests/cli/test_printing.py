"""Whatever a command prints for a person, text from outside is escaped in it."""

import io
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console
from tallycast.ledger.bulk_import.rows import Bad
from tallycast.ledger.bulk_import.show import BadRows, ProgressBar, ProgressLines
from tallycast.process import banner
from tallycast_load.coordinator.run import Result
from tallycast_load.plan.plan import make
from tallycast_load.report import page, table
from tallycast_load.verdict.checks import Check

from tests.cli.test_command import tallycast
from tests.load.verdict.test_checks import tick

EVIL = "a\u202eb\x1b[2Jc\u2028d\u200be"
ESCAPED = r"a\u202eb\u001b[2Jc\u2028d\u200be"
HARMFUL = ("\u202e", "\x1b[2J", "\u2028", "\u200b")


def check(answer: str) -> None:
    assert ESCAPED in answer
    for text in HARMFUL:
        assert text not in answer


@pytest.fixture
def result() -> Result:
    """A run against a server that says what it likes."""
    result = Result(make({}, None, private=True), f"http://tally.example/{EVIL}", 1, 0.0)
    result.verdict.checks.append(Check("counts", "counts are right", None, EVIL, [f"{EVIL}: 1 stored"]))
    result.verdict.unread = EVIL
    answer = structs.replace(tick({}), refused={f"{EVIL}[/red]": 1}, failures={EVIL: 1})
    result.totals.add(0, answer)
    return result


@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_of_a_load_test(result: Result, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=400, color_system=None)
    table.show(result, console)
    assert isinstance(console.file, io.StringIO)
    answer = console.file.getvalue()
    check(answer)
    assert "[/red]" in answer, "no markup either"
    assert answer.count(ESCAPED) >= 5


def test_the_page_of_a_load_test(result: Result) -> None:
    answer = page.text(result)
    check(answer)
    assert answer.count(ESCAPED) >= 5


@pytest.mark.parametrize("show", [ProgressLines, ProgressBar])
def test_bad_rows(show: type[ProgressLines] | type[ProgressBar]) -> None:
    console = Console(file=io.StringIO(), force_terminal=show is ProgressBar, width=200, color_system=None)
    shown = show(console)
    BadRows(shown).add(Bad(3, f"no item: {EVIL}"))
    shown.close()
    assert isinstance(console.file, io.StringIO)
    assert f"line 3: no item: {ESCAPED}" in console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_banner(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    banner.show("http://127.0.0.1:8000/", "embedded", EVIL, 1, console)
    assert isinstance(console.file, io.StringIO)
    check(console.file.getvalue())


def test_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "votes\u202evsc.csv"
    done = tallycast("import", str(file), "--dry-run")
    assert done.returncode == 1
    assert r"votes\u202evsc.csv: no such file or directory" in done.stderr


def test_a_snippet_names_the_same_item() -> None:
    done = tallycast("embed", "--item", "a\u202eb\U000e0001")
    assert '<live-reactions item="a&#x202e;b&#xe0001;"></live-reactions>' in done.stdout
