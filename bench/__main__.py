"""The command: runs the figures one after the other and prints them.

Owns flags, progress and exit statuses: 0 when everything of Tallycast was measured, whatever the budgets say;
1 when a measurement of Tallycast failed; 2 for invalid flags.
"""

import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from bench import machine, runner
from bench.compare import compare, revision
from bench.errors import UnavailableError
from bench.figures import FIGURES
from bench.figures.base import QUICK, Figure, Scale
from bench.programs import program
from bench.report import chart, data, table
from bench.results import Results

RESULTS = Path(__file__).parent / "results.json"
NAMES = [figure.name for figure in FIGURES]
ROUNDS, QUICK_ROUNDS = 5, 2
# Files that a server has open besides its connections.
OTHER_FILES = 200

Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help=f"This figure alone; may be repeated. One of {', '.join(NAMES)}."),
]
RoundsOption = Annotated[
    int | None,
    typer.Option(min=1, max=100, help=f"Rounds of each figure: {ROUNDS}, or {QUICK_ROUNDS} with --quick."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Less of everything: to see that it works, not to be quoted.")
]
ChartFile = Annotated[
    Path | None, typer.Option("--chart", metavar="FILE", help="Draw a chart as well: .svg or .html.")
]
Against = Annotated[
    str | None,
    typer.Option(metavar="REVISION", help="This tree beside an older revision of it, not beside peers."),
]


def main(
    only: Only = None,
    rounds: RoundsOption = None,
    quick: Quick = False,
    chart_file: ChartFile = None,
    against: Against = None,
) -> None:
    """Measure Tallycast beside what a user would pick instead."""
    _check(only, chart_file)
    # Like Ctrl+C: every process that was started ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    results = Results(QUICK if quick else Scale(), rounds, machine.describe())
    _limit_connections(results)
    if quick:
        results.remarks.append("--quick: too little for a figure that is quoted.")
    console = Console()
    figures = [figure for figure in FIGURES if not only or figure.name in only]
    try:
        program("load")  # Without it nothing can be measured.
        with nullcontext() if against is None else revision(against) as before:
            if before is not None:
                figures = [both for figure in figures if (both := compare(figure, before)) is not None]
            _run(figures, results, console)
    except UnavailableError as error:
        raise typer.BadParameter(str(error)) from None
    if against is None:
        console.print(table.summary(results))
    if chart_file is not None:
        chart.write(results, chart_file)
    raise typer.Exit(any("ours" in {*result.failures, *result.unavailable} for result in results.figures))


def _check(only: list[str] | None, chart_file: Path | None) -> None:
    """Check what typer cannot: names, suffixes and the platform."""
    if unknown := set(only or ()) - set(NAMES):
        raise typer.BadParameter(
            f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    if chart_file is not None and chart_file.suffix not in chart.SUFFIXES:
        raise typer.BadParameter(f"a chart is one of {', '.join(chart.SUFFIXES)}")
    if sys.platform != "linux":
        raise typer.BadParameter("the bench reads the process accounting of Linux; it runs nowhere else")


def _limit_connections(results: Results) -> None:
    """Reduce the scale to what the limit on open files allows, and add a remark."""
    files = machine.raise_file_limit() - OTHER_FILES
    scale = results.scale
    if files < max(scale.idle, scale.crowd):
        results.remarks.append(
            f"At most {files:,} connections: the limit on open files (ulimit -n) allows no more."
        )
        results.scale = replace(
            scale,
            idle=min(scale.idle, files),
            crowd=min(scale.crowd, files),
            sockets=min(scale.sockets, files),
            watchers=min(scale.watchers, files),
        )


def _run(figures: list[Figure], results: Results, console: Console) -> None:
    steps = sum(len(figure.contenders) * runner.rounds_of(figure, results.rounds) for figure in figures)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[figure]}", style="bold"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=steps, figure="")

        def on_progress(label: str, turn: int, last: bool) -> None:
            description = f"round {turn + 1} of {results.rounds}: {label}"
            progress.update(task, advance=int(last), description=description)

        for figure in figures:
            progress.update(task, figure=figure.name)
            result = runner.run(figure, results.scale, results.rounds, on_progress)
            results.figures.append(result)
            table.show(console, results, result)
            # After each figure: what was measured outlives Ctrl+C.
            data.write(results, RESULTS)


if __name__ == "__main__":
    typer.run(main)
