"""``tallycast serve``: run the server.

Does not depend on how the server works.
"""

import structlog

from tallycast.cli.options import with_settings
from tallycast.config.settings import Settings, ignored
from tallycast.observability import logs
from tallycast.process import supervisor

# One line a paragraph: the width of the help is the terminal's.
HELP = """
Run the server until Ctrl+C or SIGTERM.

Reactions are stored in an embedded Valkey, which starts and stops with the server and syncs every write to \
disk. Set [bold]REDIS_URL[/bold] to use your own Redis or Valkey instead, and [bold]TALLYCAST_PREFIX[/bold] \
to prefix the keys in it.

Flags override the environment, the environment overrides defaults.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast serve[/cyan]
[dim]this machine only, data in ./data[/dim]

[cyan]tallycast serve --host 0.0.0.0 --workers 4[/cyan]
[dim]every interface, four processes on one port[/dim]

[cyan]tallycast serve --config tallycast.toml[/cyan]
[dim]your own sites and origins[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast serve[/cyan]
[dim]your Redis (7.0 or later) or Valkey instead of the embedded engine[/dim]
"""


@with_settings
def serve(settings: Settings) -> int:
    """Serve; the exit status."""
    logs.configure()
    for name, reason in ignored():
        structlog.get_logger().warning("environment variable ignored", name=name, reason=reason)
    return supervisor.run(settings)
