"""What a person sees of an import: on a terminal a bar, elsewhere a line now and then.

Owns words and looks; all of it goes to standard error, only the summary to standard output. Must not know how
anything is imported.
"""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from tallycast.domain.printable import printable
from tallycast.ledger.bulk_import.importer import Progress
from tallycast.ledger.bulk_import.rows import Bad

LINE_EVERY = 5.0
# More bad rows than this are counted, not shown.
SHOWN = 100


class Show(Protocol):
    """Who is told how far an import is."""

    def progress(self, progress: Progress, share: float | None) -> None:
        """So far, which is this share of the whole, if that is known."""

    def say(self, line: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """It is over."""


def show() -> Show:
    """The one that fits where standard error goes."""
    console = Console(stderr=True, highlight=False)
    return Picture(console) if console.is_terminal else Lines(console)


class Lines:
    """Plain lines."""

    def __init__(self, console: Console) -> None:
        self._file = console.file
        self._began = self._said = time.monotonic()

    def progress(self, progress: Progress, share: float | None) -> None:
        """So far: said now and then."""
        now = time.monotonic()
        if now - self._said >= LINE_EVERY:
            self._said = now
            done = "" if share is None else f"{share:.0%}, "
            self.say(f"{done}{told(progress, now - self._began)}")

    def say(self, line: str) -> None:
        """A line that stays."""
        print(printable(line), file=self._file, flush=True)

    def close(self) -> None:
        """It is over."""


class Picture:
    """A bar; without a known length it only moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}", markup=False),
        ]
        self._bar = Bar(*columns, console=console, transient=True, refresh_per_second=8)
        self._task: TaskID = self._bar.add_task("", total=None, told="")
        self._bar.start()

    def progress(self, progress: Progress, share: float | None) -> None:
        """So far."""
        said = told(progress, time.monotonic() - self._began)
        if share is None:
            self._bar.update(self._task, told=said)
        else:
            self._bar.update(self._task, total=1.0, completed=share, told=said)

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._console.print(printable(line), markup=False, soft_wrap=True)

    def close(self) -> None:
        """The bar goes; what is left is the summary."""
        self._bar.stop()


class Complaints:
    """Bad rows, told as they come, the first ones of them."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._many = 0

    def tell(self, bad: Bad) -> None:
        """One more."""
        self._many += 1
        if self._many <= SHOWN:
            self._show.say(f"line {bad.line}: {bad.reason}")

    def close(self) -> None:
        """There are no more."""
        if self._many > SHOWN:
            self._show.say(f"… and {self._many - SHOWN:,} more bad rows")


def told(progress: Progress, seconds: float) -> str:
    """Progress in words."""
    rate = (progress.stored + progress.bad) / seconds if seconds else 0
    return f"{counted(progress)}, {rate:,.0f}/s"


def counted(progress: Progress) -> str:
    """The rows that are stored, and those that were bad."""
    bad = f", {progress.bad:,} bad" if progress.bad else ""
    return f"{_rows(progress.stored)}{bad}"


def summary(progress: Progress, seconds: float, *, dry: bool) -> str:
    """What came of it."""
    done = "would be imported" if dry else "imported"
    bad = f"; {_rows(progress.bad)} bad" if progress.bad else ""
    rate = (progress.stored + progress.bad) / max(seconds, 1e-9)
    return f"{_rows(progress.stored)} {done} in {_span(seconds)}, {rate:,.0f} rows/s{bad}"


def _rows(many: int) -> str:
    return f"{many:,} row{'' if many == 1 else 's'}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s"
