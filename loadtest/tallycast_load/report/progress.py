"""The progress of a run on standard error: a live view on a terminal, plain lines elsewhere.

Owns its layout. Standard output is the result's alone. Does not depend on how anything is measured.
"""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tallycast_load.coordinator.observer import RunObserver
from tallycast_load.plan import units
from tallycast_load.verdict.totals import Moment, Totals
from tallycast_load.verdict.verdict import Step

PHASES = ("preparing", "connecting", "warming up", "running", "draining", "checking")
# Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0
SPARKS = "▁▂▃▄▅▆▇█"
SPARKS_SHOWN = 60
LABEL = 16
_OUTCOMES = {True: "held", False: "did not hold", None: "did not hold, the generator was late"}


def make_observer() -> RunObserver:
    """Make the observer that suits standard error."""
    console = Console(stderr=True, highlight=False)
    return LiveView(console) if console.is_terminal else Lines(console)


class Lines:
    """Plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._written_at = 0.0

    def phase(self, name: str, seconds: float | None) -> None:
        """A phase begins; it takes about so many seconds."""
        self._write(f"{name}{f', {units.show_span(seconds)}' if seconds and name == 'running' else ''} …")
        self._written_at = time.monotonic()

    def progress(self, done: float, whole: float) -> None:
        """Part of the phase is done: not written."""

    def moment(self, moment: Moment, totals: Totals) -> None:
        """A second of the run is over."""
        if moment.phase in ("connecting", "running") and time.monotonic() - self._written_at >= LINE_EVERY:
            self._written_at = time.monotonic()
            self._write(f"  {_line(moment)}")

    def step(self, step: Step) -> None:
        """A step of the rate is over."""
        self._write(f"  {_step(step)}")

    def close(self) -> None:
        """The run is over."""

    def _write(self, line: str) -> None:
        print(line, file=self._console.file, flush=True)


class LiveView:
    """A few lines that are redrawn eight times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = ""
        self._share = 0.0
        self._moment: Moment | None = None
        self._p99: list[float | None] = []
        self._steps: list[Step] = []
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=8, transient=True)
        self._live.start()

    def phase(self, name: str, seconds: float | None) -> None:
        """A phase begins; it takes about so many seconds."""
        self._name, self._share = name, 0.0

    def progress(self, done: float, whole: float) -> None:
        """Part of the phase is done."""
        self._share = min(1.0, max(0.0, done / whole)) if whole else 0.0

    def moment(self, moment: Moment, totals: Totals) -> None:
        """A second of the run is over."""
        self._moment = moment
        if moment.phase in ("warming up", "running"):
            self._p99.append(moment.latencies["update"]["p99"])

    def step(self, step: Step) -> None:
        """A step of the rate is over."""
        self._steps.append(step)

    def close(self) -> None:
        """The run is over."""
        self._live.stop()

    def _draw(self) -> Group:
        parts: list[Table | Text] = [self._phases(), self._bar()]
        if self._moment is not None:
            parts.append(self._numbers(self._moment))
            if any(self._p99):
                sparks = (_sparks(self._p99), "cyan")
                parts.append(Text.assemble((f"  {'p99':<{LABEL + 1}}", "dim"), sparks))
        parts += [Text(f"  {_step(step)}", style="" if step.held else "red") for step in self._steps[-8:]]
        return Group(Text(), *parts, Text())

    def _phases(self) -> Table:
        row = Table.grid(padding=(0, 2, 0, 0))
        cells: list[Text | Spinner] = []
        at = PHASES.index(self._name) if self._name in PHASES else 0
        for number, name in enumerate(PHASES):
            if number == at:
                self._spinner.update(text=Text(name, style="bold cyan"))
                cells.append(self._spinner)
            else:
                cells.append(Text(f"{'✔' if number < at else '·'} {name}", style="dim"))
        row.add_row(Text(), *cells)
        return row

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1, 0, 0))
        width = max(10, min(60, self._console.width - 16))
        bar = ProgressBar(total=1.0, completed=self._share, width=width)
        row.add_row(Text(" "), bar, Text(f"{self._share:4.0%}", style="dim"))
        return row

    def _numbers(self, moment: Moment) -> Table:
        grid = Table.grid(padding=(0, 3, 0, 0))
        grid.add_column(style="dim", min_width=LABEL)
        for _ in range(4):
            grid.add_column(min_width=14, no_wrap=True)
        rates = moment.rates
        grid.add_row(
            "  connections",
            f"[bold]{moment.up:,}[/bold]",
            *((f"[dim]back[/dim] {rates['reconnects']:,.0f}/s",) if rates["reconnects"] else ()),
        )
        target = f"[dim]of[/dim] {moment.target:,.0f}" if moment.target else ""
        grid.add_row(
            "  reactions",
            f"[bold]{rates['sent']:,.0f}[/bold]/s {target}",
            f"[dim]acked[/dim] {rates['acked']:,.0f}/s",
            f"[red]refused {rates['refused']:,.0f}/s[/red]" if rates["refused"] else "",
        )
        grid.add_row("  updates", f"[bold]{rates['updates']:,.0f}[/bold]/s")
        for name, label in (("update", "  → others"), ("ack", "  → ack")):
            points = moment.latencies[name]
            if points["p50"] is not None:
                grid.add_row(label, *(f"[dim]{key}[/dim] {_time(points[key])}" for key in points))
        cpu = " ".join(f"{share:.0%}" for share in moment.cpu)
        style = "red" if moment.late > 0.01 or any(share > 0.95 for share in moment.cpu) else "dim"
        grid.add_row(
            "  generator", f"[{style}]cpu {cpu}[/{style}]", f"[{style}]late {moment.late:.1%}[/{style}]"
        )
        return grid


def _line(moment: Moment) -> str:
    update, ack, rates = moment.latencies["update"], moment.latencies["ack"], moment.rates
    line = f"{moment.at:6.1f} s  {moment.up:,} connections"
    if moment.phase == "connecting":
        return line
    line += f"  {rates['sent']:,.0f} reactions/s  {rates['updates']:,.0f} updates/s"
    if update["p50"] is not None:
        line += f"  to others p50 {_time(update['p50'])} p99 {_time(update['p99'])}"
    if ack["p50"] is not None:
        line += f"  to ack p50 {_time(ack['p50'])} p99 {_time(ack['p99'])}"
    return line + f"  late {moment.late:.1%}"


def _step(step: Step) -> str:
    values = ", ".join(
        f"{one.threshold.text}: {one.threshold.shown(one.value)}" for one in step.threshold_results
    )
    return f"{units.show_count(step.rate)}/s {_OUTCOMES[step.passed]} ({values})"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else units.show_time(seconds)


def _sparks(values: list[float | None]) -> str:
    shown = values[-SPARKS_SHOWN:]
    most = max((value for value in shown if value is not None), default=0.0) or 1.0
    return "".join(
        " " if value is None else SPARKS[min(int(value / most * len(SPARKS)), len(SPARKS) - 1)]
        for value in shown
    )
