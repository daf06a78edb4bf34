"""``tallycast health``: ask the server on this machine whether it is alive, or ready.

Does not depend on the server itself, only on where it listens.
"""

from typing import Annotated

import typer

from tallycast.cli.options import setting
from tallycast.config.settings import load
from tallycast.process.probe import check

HELP = "Check the server on this machine: exit status 0, or 1 and a line with the reason."

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast health[/cyan]
[dim]alive? at the address of TALLYCAST_HOST, TALLYCAST_PORT and PORT[/dim]

[cyan]tallycast health --ready --host unix:/run/tallycast/tallycast.sock[/cyan]
[dim]ready for clients of a load balancer? on a Unix socket[/dim]
"""

_READY = typer.Option(
    "--ready", help="Check that it accepts reactions (/readyz), not only that it runs (/livez)."
)


def health(
    ready: Annotated[bool, _READY] = False,
    host: Annotated[str | None, setting("host", "Address that the server listens on.")] = None,
    port: Annotated[str | None, setting("port", "Port that the server listens on.")] = None,
) -> None:
    """Check, and print the answer."""
    settings = load(host=host, port=port)
    check(settings.host, settings.port, ready=ready)
    print("ready" if ready else "alive")
