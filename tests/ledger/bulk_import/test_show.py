"""What is shown of an import, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console
from tallycast.ledger.bulk_import import show
from tallycast.ledger.bulk_import.importer import Progress
from tallycast.ledger.bulk_import.rows import Bad
from tallycast.ledger.bulk_import.show import MAX_SHOWN, BadRows, ProgressBar, ProgressLines, summary


def test_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(show, "LINE_INTERVAL", 3600)
    lines = ProgressLines(Console(file=out))
    lines.progress(Progress(100, 99, 0), 0.5)
    assert out.getvalue() == ""
    monkeypatch.setattr(show, "LINE_INTERVAL", 0)
    lines.progress(Progress(2000, 1999, 1), 0.5)
    lines.progress(Progress(2000, 1999, 1), None)
    lines.close()
    first, second = out.getvalue().splitlines()
    assert first.startswith("50%, 1,999 rows, 1 bad, ")
    assert second.startswith("1,999 rows, 1 bad, ")


@pytest.mark.parametrize("share", [0.5, None])
def test_a_bar_on_a_terminal(share: float | None) -> None:
    out = io.StringIO()
    bar = ProgressBar(Console(file=out, force_terminal=True, highlight=False, width=80))
    bar.progress(Progress(2000, 1999, 1), share)
    bar.say("line 7: [bold]no markup[/bold]")
    bar.close()
    drawn = out.getvalue()
    assert "1,999 rows, 1 bad" in drawn
    assert "line 7: [bold]no markup[/bold]" in drawn
    assert ("50%" in drawn) == (share is not None)


def test_the_first_complaints_are_shown_and_all_counted() -> None:
    out = io.StringIO()
    bad_rows = BadRows(ProgressLines(Console(file=out)))
    for line in range(1, MAX_SHOWN + 1235):
        bad_rows.add(Bad(line, "a reason"))
    bad_rows.close()
    answer = out.getvalue().splitlines()
    assert answer[:2] == ["line 1: a reason", "line 2: a reason"]
    assert len(answer) == MAX_SHOWN + 1
    assert answer[-1] == "… and 1,234 more bad rows"


def test_the_summary() -> None:
    assert summary(Progress(0, 1, 0), 0.5, dry=False) == "1 row imported in 0.5 s, 2 rows/s"
    assert summary(Progress(0, 300_000, 3), 125, dry=True) == (
        "300,000 rows would be imported in 2 m 5 s, 2,400 rows/s; 3 rows bad"
    )
