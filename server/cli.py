"""The command line: ``tallycast serve``, ``tallycast version``.

Owns flags, help texts and exit statuses: 0 after a clean end, 1 when the server cannot start, 2 for a wrong
flag or setting, always with one line on standard error. Must not know how to serve, nor what a right value
is: flags are handed to ``settings`` as they were typed.
"""

import sys
from typing import Annotated

import typer

from server import __version__, logs, supervisor
from server.errors import SettingsError, StartError
from server.settings import Settings, environment_names, load

# One line a paragraph: the help's width is the terminal's.
_SERVE = """
Run the server until Ctrl+C or SIGTERM.

Reactions are stored in an embedded Valkey that starts and stops with the server and syncs every write to \
disk, or in the Redis or Valkey that [bold]REDIS_URL[/bold] names.

Flags win over the environment, the environment over defaults.
"""

_EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast serve[/cyan]
[dim]this machine only, data in ./data[/dim]

[cyan]tallycast serve --host 0.0.0.0 --workers 4[/cyan]
[dim]every interface, four processes on one port[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast serve[/cyan]
[dim]your Redis (7.0 or later) or Valkey instead of the embedded engine[/dim]
"""

app = typer.Typer(
    name="tallycast",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help(name: str) -> str:
    """A setting's help text, with the variables that set it and its default."""
    field = Settings.model_fields[name]
    names = " or ".join(environment_names(name))
    return f"{field.description} [dim]\\[env: {names}; default: {field.default}][/dim]"


@app.callback(invoke_without_command=True)
def tallycast(context: typer.Context) -> None:
    """Live reaction counts: likes and dislikes that move in every open browser within milliseconds."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(help=_SERVE, epilog=_EXAMPLES)
def serve(
    host: Annotated[str | None, typer.Option(help=_help("host"), metavar="ADDRESS")] = None,
    port: Annotated[str | None, typer.Option(help=_help("port"), metavar="NUMBER")] = None,
    workers: Annotated[str | None, typer.Option(help=_help("workers"), metavar="NUMBER")] = None,
    data: Annotated[str | None, typer.Option(help=_help("data"), metavar="FOLDER")] = None,
) -> int:
    """Serve; the exit status."""
    settings = load(host=host, port=port, workers=workers, data=data)
    logs.configure()
    return supervisor.run(settings)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"tallycast {__version__}")


def main() -> None:
    """The entry point of the ``tallycast`` command."""
    sys.exit(_status(sys.argv[1:]))


def _status(arguments: list[str]) -> int:
    try:
        return app(arguments, prog_name="tallycast", standalone_mode=False) or 0
    except SettingsError as error:
        return _complain(str(error), 2)
    except StartError as error:
        return _complain(str(error), 1)
    except typer.TyperException as error:
        return _complain(f"{_usage(error)}; see tallycast --help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130


def _complain(line: str, status: int) -> int:
    print(f"tallycast: {line}", file=sys.stderr)
    return status


def _usage(error: typer.TyperException) -> str:
    text = getattr(error, "format_message", error.__str__)()
    return str(text).rstrip(".")
