"""The command: takes the figures one after the other and shows them.

Owns flags, progress and exit statuses: 0 when everything of ours was measured, whatever the budgets say; 1
when something of ours failed; 2 for a wrong flag.
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

from bench import runner
from bench.about import about, raise_file_limit
from bench.against import compared, revision
from bench.errors import Unavailable
from bench.figures import FIGURES
from bench.figures.base import QUICK, Figure, Scale
from bench.programs import program
from bench.report import chart, data, table
from bench.results import Results

RESULTS = Path(__file__).parent / "results.json"
NAMES = [figure.name for figure in FIGURES]
ROUNDS, QUICK_ROUNDS = 5, 2
# What a server has open besides its connections.
OTHER_FILES = 200


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"This figure alone; may be repeated. One of {', '.join(NAMES)}."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help=f"Rounds of each figure: {ROUNDS}, or {QUICK_ROUNDS} with --quick."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Less of everything: to see that it works, not to be quoted.")
    ] = False,
    chart_file: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE", help="Draw a chart as well: .svg or .html.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Our server beside itself as it was, not beside others."),
    ] = None,
) -> None:
    """Measure Tallycast beside what a user would pick instead."""
    if unknown := set(only or ()) - set(NAMES):
        raise typer.BadParameter(
            f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    if chart_file is not None and chart_file.suffix not in chart.KINDS:
        raise typer.BadParameter(f"a chart is one of {', '.join(chart.KINDS)}")
    if sys.platform != "linux":
        raise typer.BadParameter("the bench reads Linux's accounts of processes; it runs nowhere else")
    # Like Ctrl+C: everything that was started ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = Results(QUICK if quick else Scale(), rounds or (QUICK_ROUNDS if quick else ROUNDS), about())
    _fit(results, quick)
    console = Console()
    figures = [figure for figure in FIGURES if not only or figure.name in only]
    try:
        program("load")  # Without it there is nothing to measure.
        with nullcontext() if against is None else revision(against) as before:
            if before is not None:
                figures = [both for figure in figures if (both := compared(figure, before)) is not None]
            _take(figures, results, console)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from None
    if against is None:
        console.print(table.summary(results))
    if chart_file is not None:
        chart.write(results, chart_file)
    raise typer.Exit(any("ours" in found.wrong or "ours" in found.absent for found in results.found))


def _fit(results: Results, quick: bool) -> None:
    """Fit the run to the machine, and say what that means for the figures."""
    files = raise_file_limit() - OTHER_FILES
    if files < max(results.scale.idle, results.scale.crowd):
        results.remarks.append(
            f"At most {files:,} connections: the limit on open files (ulimit -n) allows no more."
        )
        scale = results.scale
        results.scale = replace(
            scale,
            idle=min(scale.idle, files),
            crowd=min(scale.crowd, files),
            sockets=min(scale.sockets, files),
            watchers=min(scale.watchers, files),
        )
    if quick:
        results.remarks.append("--quick: too little for a figure that is quoted.")


def _take(figures: list[Figure], results: Results, console: Console) -> None:
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

        def says(label: str, turn: int, last: bool) -> None:
            description = f"round {turn + 1} of {results.rounds}: {label}"
            progress.update(task, advance=int(last), description=description)

        for figure in figures:
            progress.update(task, figure=figure.name)
            found = runner.take(figure, results.scale, results.rounds, says)
            results.found.append(found)
            table.show(console, results, found)
            # After each: what was measured outlives Ctrl+C.
            data.write(results, RESULTS)


if __name__ == "__main__":
    typer.run(main)
