"""What a person sees while it runs: on a terminal, and where there is none."""

import io

import pytest
from rich.console import Console
from rich.text import Text
from tallycast_load.plan.thresholds import Threshold
from tallycast_load.report import progress
from tallycast_load.report.progress import Lines, LiveView
from tallycast_load.verdict.totals import Moment, Totals
from tallycast_load.verdict.verdict import Step, ThresholdResult

POINTS = {"p50": 0.004, "p99": 0.02, "max": 0.5}
NONE = dict.fromkeys(POINTS)
RATES = {"sent": 480.0, "acked": 470.0, "updates": 12_345.0, "reconnects": 0.0, "refused": 0.0}


def moment(phase: str = "running", **changed: object) -> Moment:
    fields: dict[str, object] = {
        "at": 12.0, "clock": 100.0, "phase": phase, "up": 10_000, "rates": RATES, "cpu": [0.31, 0.42],
        "latencies": {"update": POINTS, "ack": POINTS, "connect": NONE}, "late": 0.004, "target": 500.0,
    }  # fmt: skip
    return Moment(**{**fields, **changed})  # type: ignore[arg-type]


def step(rate: float, holds: bool) -> Step:
    return Step(rate, (ThresholdResult(Threshold.parse("p99<100ms"), 0.05 if holds else 0.3, holds),), 10, 0)


def console(width: int = 100, *, terminal: bool) -> Console:
    return Console(width=width, height=40, file=io.StringIO(), force_terminal=terminal, highlight=False)


def drawn(observer: LiveView | Lines, on: Console) -> list[str]:
    """What is to be seen in the end, without colours and movements."""
    observer.close()
    assert isinstance(on.file, io.StringIO)
    lines = Text.from_ansi(on.file.getvalue()).plain.splitlines()
    assert max(map(len, lines)) <= on.width
    return lines


def line(lines: list[str], word: str) -> str:
    """The last one that begins with a word: later pictures are drawn below earlier ones."""
    return " ".join([one for one in lines if one.strip().startswith(word)][-1].split())


def test_a_picture_has_phases_rates_and_percentiles() -> None:
    on = console(terminal=True)
    observer = LiveView(on)
    observer.phase("running", 60.0)
    observer.progress(45, 60)
    for _ in range(3):
        observer.moment(moment(), Totals())
    observer.step(step(100.0, True))
    observer.step(step(150.0, False))
    lines = drawn(observer, on)
    text = "\n".join(lines)
    for word in ("✔ preparing", "✔ warming up", "running", "· draining", "· checking", "75%"):
        assert word in text
    assert line(lines, "connections") == "connections 10,000"
    assert line(lines, "reactions") == "reactions 480/s of 500 acked 470/s"
    assert line(lines, "updates") == "updates 12,345/s"
    assert line(lines, "→ others") == "→ others p50 4.00 ms p99 20.0 ms max 500 ms"
    assert line(lines, "→ ack") == "→ ack p50 4.00 ms p99 20.0 ms max 500 ms"
    assert line(lines, "generator") == "generator cpu 31% 42% late 0.4%"
    assert line(lines, "p99") == "p99 ███"
    assert line(lines, "100/s held") == "100/s held (p99<100ms: 50.0 ms)"
    assert line(lines, "150/s did not hold") == "150/s did not hold (p99<100ms: 300 ms)"


def test_a_picture_shows_what_goes_wrong() -> None:
    on = console(terminal=True)
    observer = LiveView(on)
    observer.phase("running", 60.0)
    observer.moment(moment(rates={**RATES, "reconnects": 50.0, "refused": 9.0}, late=0.02), Totals())
    lines = drawn(observer, on)
    assert line(lines, "connections") == "connections 10,000 back 50/s"
    assert line(lines, "reactions").endswith("refused 9/s")
    assert isinstance(on.file, io.StringIO)
    assert "\x1b[31mlate 2.0%" in on.file.getvalue(), "in red"


def test_before_anything_was_measured_there_is_no_percentile() -> None:
    on = console(terminal=True)
    observer = LiveView(on)
    observer.phase("connecting", 5.0)
    observer.progress(1, 0)
    nothing = {"update": NONE, "ack": NONE, "connect": NONE}
    observer.moment(moment("connecting", latencies=nothing, target=0.0), Totals())
    text = "\n".join(drawn(observer, on))
    assert "p50" not in text
    assert " of " not in text


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_does_not_break_it(width: int) -> None:
    on = console(width, terminal=True)
    observer = LiveView(on)
    observer.phase("checking", None)
    observer.moment(moment(), Totals())
    drawn(observer, on)


def test_the_worst_second_is_the_highest_and_a_silent_one_has_none() -> None:
    assert progress._sparks([0.1, None, 0.2]) == "▅ █"
    assert progress._sparks([None, 0.0]) == " ▁"
    assert len(progress._sparks([1.0] * 500)) == progress.SPARKS_SHOWN


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    on = console(200, terminal=False)
    observer = Lines(on)
    observer.phase("preparing", None)
    observer.phase("connecting", 5.0)
    observer.moment(moment("connecting"), Totals())  # Too soon after the last line.
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    observer.moment(moment("connecting"), Totals())
    observer.phase("running", 60.0)
    observer.progress(1, 2)
    observer.moment(moment(), Totals())
    observer.step(step(100.0, True))
    observer.phase("draining", 8.0)
    observer.moment(moment("draining"), Totals())  # Nothing of interest.
    assert drawn(observer, on) == [
        "preparing …",
        "connecting …",
        "    12.0 s  10,000 connections",
        "running, 1 m …",
        "    12.0 s  10,000 connections  480 reactions/s  12,345 updates/s  to others p50 4.00 ms "
        "p99 20.0 ms  to ack p50 4.00 ms p99 20.0 ms  late 0.4%",
        "  100/s held (p99<100ms: 50.0 ms)",
        "draining …",
    ]  # fmt: skip


def test_it_depends_on_where_standard_error_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, kind in ((True, LiveView), (False, Lines)):
        monkeypatch.setattr(progress, "Console", lambda *, is_one=terminal, **_: console(terminal=is_one))
        observer = progress.make_observer()
        observer.close()
        assert isinstance(observer, kind)
