"""``tallycast embed``: print the HTML for a page.

Does not depend on a running server: it reads the script that is installed with the command.
"""

import sys
from typing import Annotated

import typer
from rich.console import Console

from tallycast.api.embed import installed, snippet
from tallycast.cli.options import SiteName
from tallycast.domain.sites import DEFAULT_SITE

LOCAL = "http://127.0.0.1:8000"

HELP = """
Print the HTML that adds live reactions to your pages, ready to paste.

Add the script to a page once, and a [bold]<live-reactions>[/bold] element wherever buttons are to appear. \
No server has to run: the command reads the script that is installed with it.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast embed --server https://tally.example[/cyan]
[dim]for a template: every page is an item, identified by its address[/dim]

[cyan]tallycast embed --server https://tally.example --site blog --item posts/42[/cyan]
[dim]one item of the site blog[/dim]

[cyan]tallycast embed --server https://tally.example --pin > snippet.html[/cyan]
[dim]one version of the script, verified by the browser[/dim]
"""

_SERVER = typer.Option(metavar="URL", help="The server's URL as browsers reach it, with its path.")
_ITEM = typer.Option(metavar="ID", help="The item's id, 1 to 256 bytes. Default: the address of the page.")
_PIN = typer.Option(
    "--pin",
    help="Pin this version of the script by its hash. Paste the HTML again after each upgrade of the server.",
)


def embed(
    server: Annotated[str, _SERVER] = LOCAL,
    site: SiteName = DEFAULT_SITE,
    item: Annotated[str | None, _ITEM] = None,
    pin: Annotated[bool, _PIN] = False,
) -> None:
    """Print the HTML; hints go to standard error, on a terminal only."""
    html = snippet(installed(), server, site, item, pinned=pin)
    hint = Console(stderr=True, highlight=False, quiet=not sys.stdout.isatty()).print
    hint("Add the script to a page once, and an element wherever buttons are to appear.\n", style="dim")
    print(html, end="", flush=True)
    if server == LOCAL:
        hint("\nThis works on this machine only. Give your server's public URL with --server.", style="dim")
