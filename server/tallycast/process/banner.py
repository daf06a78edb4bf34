"""The start banner: what is printed when the server is ready.

Owns its text and layout. Does not depend on how anything was started.
"""

import sys

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tallycast import __version__
from tallycast.domain.printable import printable


def show(
    url: str,
    engine: str,
    data: str | None,
    workers: int,
    console: Console | None = None,
    *,
    demo: bool = True,
    metrics: str | None = None,
) -> None:
    """Print the banner to standard output: with colours on a terminal, as plain lines elsewhere.

    Args:
        url: Address of the server.
        engine: Description of the engine.
        data: Data folder of the embedded engine.
        workers: Number of workers.
        console: Where to print.
        demo: Whether the demo pages are served.
        metrics: Address of the metrics.
    """
    console = console or Console(highlight=False)
    rows = {
        "Demo page" if demo else "Address": url,
        "Engine": engine,
        "Data": data,
        "Workers": str(workers) if workers > 1 else None,
        "Metrics": metrics,
    }
    shown = {name: printable(value) for name, value in rows.items() if value is not None}
    try:
        if console.is_terminal:
            console.print(Padding(_table(shown, unicode=console.encoding.startswith("utf")), (1, 2)))
        else:
            print(_plain(shown), file=console.file, flush=True)
    except (OSError, ValueError) as error:  # Closed, or another encoding: the server runs all the same.
        print(f"tallycast: cannot print the start banner: {error}", file=sys.stderr)


def _table(shown: dict[str, str], *, unicode: bool) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    title = Text.assemble(("Tallycast ", "bold"), (__version__, "dim"), (" is ready", "bold green"))
    grid.add_row(Text("▲ ▼" if unicode else "+ -", style="bold magenta"), title)
    grid.add_row()
    for name, value in shown.items():
        style = f"bold cyan link {value}" if value == shown.get("Demo page") else ""
        grid.add_row(name, Text(value, style=style))
    grid.add_row("Stop", Text("Ctrl+C"))
    return grid


def _plain(shown: dict[str, str]) -> str:
    title = f"Tallycast {__version__} is ready"
    lines = [title, *(f"{name + ':':<11}{value}" for name, value in shown.items())]
    return "\n".join([*lines, f"{'Stop:':<11}Ctrl+C or SIGTERM"])
