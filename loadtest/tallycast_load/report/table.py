"""The result as a table on standard output; without style when that is a file.

Owns its layout. Does not depend on how a run proceeds.
"""

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from tallycast.domain.printable import printable

from tallycast_load.coordinator.run import Result
from tallycast_load.plan import units
from tallycast_load.plan.thresholds import DISTRIBUTIONS, POINTS
from tallycast_load.report import summary
from tallycast_load.verdict.verdict import INVALID, PASSED

WIDE = 120


def show(result: Result, console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console(highlight=False)
    padded = Padding(render(result), (1, 2), expand=False)
    if console.is_terminal:
        console.print(padded)
        return
    console.width = WIDE
    with console.capture() as captured:
        console.print(padded)
    # Without trailing spaces.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=console.file)


def render(result: Result) -> Group:
    """The whole table."""
    parts: list[RenderableType] = [_heading(result), Text(), _latencies(result), Text(), _counts(result)]
    verdict = result.verdict
    if verdict.steps:
        parts += [Text(), _steps(result)]
    elif verdict.threshold_results:
        parts += [Text(), _thresholds(result)]
    if verdict.checks:
        parts += [Text(), _checks(result)]
    advice = summary.advice(result)
    parts += [Text()] if advice else []
    parts += [Text(f"{line[0].upper()}{line[1:]}.", style="yellow") for line in advice]
    return Group(*parts)


def _heading(result: Result) -> Group:
    verdict = result.verdict
    colour = {PASSED: "green", INVALID: "yellow"}.get(verdict.status, "red")
    return Group(
        Text.assemble(
            (f" {verdict.heading} ", f"bold white on {colour}"), "  ", (summary.outcome(result), "bold")
        ),
        Text(f"{printable(result.url)} · {summary.describe_plan(result)}", style="dim"),
    )


def _grid(*columns: str, right: int = 0) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for place, column in enumerate(columns):
        grid.add_column(column, justify="right" if 0 < place <= right else "left", no_wrap=place <= right)
    return grid


def _latencies(result: Result) -> Table:
    grid = _grid("latency", *POINTS, "measured", right=len(POINTS) + 1)
    for name in DISTRIBUTIONS:
        latencies = result.totals.all(name)
        values = latencies.points(POINTS).values()
        cells = ["–" if value is None else units.show_time(value) for value in values]
        grid.add_row(summary.TITLES[name], *cells, f"{latencies.count:,}")
    return grid


def _counts(result: Result) -> Table:
    left, right = summary.counts(result), summary.generator(result)
    grid = _grid("counted", "", "generator", "", right=1)
    for row in range(max(len(left), len(right))):
        cells = [
            *(left[row] if row < len(left) else ("", "")),
            *(right[row] if row < len(right) else ("", "")),
        ]
        grid.add_row(*map(Text, cells))  # Text: what the server sent is not markup.
    return grid


def _thresholds(result: Result) -> Table:
    grid = _grid("threshold", "", "measured")
    for one in result.verdict.threshold_results:
        grid.add_row(one.threshold.text, _mark(one.holds), one.threshold.shown(one.value))
    return grid


def _steps(result: Result) -> Table:
    grid = _grid(
        "reactions/s",
        "",
        *(one.threshold.text for one in result.verdict.steps[0].threshold_results),
        "sent late",
    )
    for step in result.verdict.steps:
        values = (one.threshold.shown(one.value) for one in step.threshold_results)
        late = units.show_share(step.late / step.due) if step.due else "–"
        grid.add_row(units.show_count(step.rate), _mark(step.passed), *values, late)
    return grid


def _checks(result: Result) -> Table:
    grid = _grid("check", "", "promise", "found")
    for check in result.verdict.checks:
        grid.add_row(
            check.name, _mark(check.passed), check.promise, Text(printable(check.found), style="dim")
        )
        for detail in check.details:
            grid.add_row("", "", Text(printable(detail), style="red"), "")
    return grid


def _mark(good: bool | None) -> Text:
    if good is None:
        return Text("?", style="bold yellow")
    return Text("PASS", style="bold green") if good else Text("FAIL", style="bold red")
