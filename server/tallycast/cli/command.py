"""The command line: registers the sub-commands and turns errors into exit statuses.

Owns the statuses: 0 after a clean end, 1 when the server cannot start, 2 for an invalid flag or setting, with
one line on standard error. ``load`` has statuses of its own (1 for any error; 2 is an invalid run). Does not
depend on what the sub-commands do.
"""

import sys
from typing import Annotated

import typer
from tallycast_load.cli import command as load
from tallycast_load.plan.errors import LoadError

from tallycast import __version__
from tallycast.cli import audit, embed, health, import_file, revoke, serve, token
from tallycast.config.errors import SettingsError, StartError
from tallycast.domain.printable import printable
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.process.probe import NotHealthy

app = typer.Typer(
    name="tallycast",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def tallycast(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Live reaction counts: likes and dislikes that update in every open browser within milliseconds."""
    if show_version:
        version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("serve", help=serve.HELP, epilog=serve.EXAMPLES)(serve.serve)
app.command("embed", help=embed.HELP, epilog=embed.EXAMPLES)(embed.embed)
app.command("load", help=load.HELP, epilog=load.EXAMPLES)(load.load)
app.command("token", help=token.HELP, epilog=token.EXAMPLES)(token.token)
app.command("revoke", help=revoke.HELP, epilog=revoke.EXAMPLES)(revoke.revoke)
app.command("import", help=import_file.HELP, epilog=import_file.EXAMPLES)(import_file.import_file)
app.command("audit", help=audit.HELP, epilog=audit.EXAMPLES)(audit.audit)
app.command("health", help=health.HELP, epilog=health.EXAMPLES)(health.health)


@app.command("version")
def version() -> None:
    """Print the version."""
    print(f"tallycast {__version__}")


def main() -> None:
    """Run the command line, and exit with its status."""
    sys.exit(_status(sys.argv[1:]))


def _status(arguments: list[str]) -> int:
    try:
        return app(arguments, prog_name="tallycast", standalone_mode=False) or 0
    except SettingsError as error:
        return _fail(str(error), 2)
    except (StartError, LoadError, ImportFailed, NotHealthy) as error:
        return _fail(str(error), 1)
    except typer.TyperException as error:
        return _fail(_usage(error, arguments), 1 if arguments[0] == "load" else 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)


def _fail(line: str, status: int) -> int:
    print(f"tallycast: {printable(line)}", file=sys.stderr)
    return status


def _usage(error: typer.TyperException, arguments: list[str]) -> str:
    """What is wrong, and which help to read."""
    text = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    known = {command.name for command in app.registered_commands}
    help_command = f"tallycast {arguments[0]} --help" if arguments[0] in known else "tallycast --help"
    return f"{text} See {help_command}" if text.endswith("?") else f"{text}; see {help_command}"
