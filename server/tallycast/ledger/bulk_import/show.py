"""The progress of an import, as it is displayed: on a terminal a bar, elsewhere a line every few seconds.

Owns wording and appearance; all of it goes to standard error, only the summary to standard output. Does not
depend on how rows are imported.
"""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from tallycast.domain.printable import printable
from tallycast.ledger.bulk_import.importer import Progress
from tallycast.ledger.bulk_import.rows import Bad

LINE_INTERVAL = 5.0
# More bad rows than this are counted, not shown.
MAX_SHOWN = 100


class Show(Protocol):
    """Displays the progress of an import."""

    def progress(self, progress: Progress, share: float | None) -> None:
        """Display the progress, which is this share (0 to 1) of the whole, if that is known."""

    def say(self, line: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """Remove what does not stay."""


def show() -> Show:
    """The display for where standard error goes."""
    console = Console(stderr=True, highlight=False)
    return ProgressBar(console) if console.is_terminal else ProgressLines(console)


class ProgressLines:
    """Plain lines."""

    def __init__(self, console: Console) -> None:
        self._file = console.file
        self._began = self._printed_at = time.monotonic()

    def progress(self, progress: Progress, share: float | None) -> None:
        """See ``Show``; prints a line every few seconds."""
        now = time.monotonic()
        if now - self._printed_at >= LINE_INTERVAL:
            self._printed_at = now
            done = "" if share is None else f"{share:.0%}, "
            self.say(f"{done}{describe(progress, now - self._began)}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        print(printable(line), file=self._file, flush=True)

    def close(self) -> None:
        """Remove what does not stay."""


class ProgressBar:
    """A bar; without a known length it only moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        ]
        self._bar = Bar(*columns, console=console, transient=True, refresh_per_second=8)
        self._task: TaskID = self._bar.add_task("", total=None, text="")
        self._bar.start()

    def progress(self, progress: Progress, share: float | None) -> None:
        """See ``Show``."""
        text = describe(progress, time.monotonic() - self._began)
        if share is None:
            self._bar.update(self._task, text=text)
        else:
            self._bar.update(self._task, total=1.0, completed=share, text=text)

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar."""
        self._console.print(printable(line), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar; the summary follows."""
        self._bar.stop()


class BadRows:
    """Prints bad rows, up to a maximum, and counts them."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._count = 0

    def add(self, bad: Bad) -> None:
        """Print one, if it is among the first."""
        self._count += 1
        if self._count <= MAX_SHOWN:
            self._show.say(f"line {bad.line}: {bad.reason}")

    def close(self) -> None:
        """Print how many were not printed."""
        if self._count > MAX_SHOWN:
            self._show.say(f"… and {self._count - MAX_SHOWN:,} more bad rows")


def describe(progress: Progress, seconds: float) -> str:
    """The progress and the rate, in words."""
    rate = (progress.stored + progress.bad) / seconds if seconds else 0
    return f"{counted(progress)}, {rate:,.0f}/s"


def counted(progress: Progress) -> str:
    """How many rows are stored, and how many were bad."""
    bad = f", {progress.bad:,} bad" if progress.bad else ""
    return f"{_rows(progress.stored)}{bad}"


def summary(progress: Progress, seconds: float, *, dry: bool) -> str:
    """The summary of the import."""
    done = "would be imported" if dry else "imported"
    bad = f"; {_rows(progress.bad)} bad" if progress.bad else ""
    rate = (progress.stored + progress.bad) / max(seconds, 1e-9)
    return f"{_rows(progress.stored)} {done} in {_span(seconds)}, {rate:,.0f} rows/s{bad}"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s"
