"""The command line: ``tallycast serve``, ``load``, ``embed``, ``token``, ``revoke``, ``import``,
``audit``, ``health``, ``version``.

Owns flags, help texts and exit statuses: 0 after a clean end, 1 when the server cannot start, 2 for a wrong
flag or setting, always with one line on standard error. ``load`` has options and statuses of its own (1 for
anything wrong; 2 means something else there). Must not know how to serve, nor what a right value is: flags
are handed to ``settings`` as they were typed.
"""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from tallycast_load import command

from tallycast import __version__
from tallycast.api.embed import installed, snippet
from tallycast.cli import admin, health, help_texts
from tallycast.cli import audit as counts_audit
from tallycast.config.settings import Settings, default_text, environment_names, ignored, load
from tallycast.contract.errors import ImportFailed, LoadError, NotHealthy, SettingsError, StartError
from tallycast.domain.printable import printable
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.observability import logs
from tallycast.process import supervisor

LOCAL = "http://127.0.0.1:8000"

app = typer.Typer(
    name="tallycast",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help(name: str, text: str | None = None) -> str:
    """A setting's help text, or another one, with the variables that set it and its default."""
    text = text or Settings.model_fields[name].description
    names = " or ".join(environment_names(name))
    return f"{text} [dim]\\[env: {names}; default: {default_text(name)}][/dim]"


def _setting(name: str, metavar: str) -> Any:
    return typer.Option(help=_help(name), metavar=metavar)


def _limit(name: str, metavar: str) -> Any:
    return typer.Option(help=_help(name), metavar=metavar, rich_help_panel="Limits")


def _switch(name: str) -> Any:
    # Apart from the others, whose help would be squeezed by a column for the names that switch off.
    flag = name.replace("_", "-")
    return typer.Option(f"--{flag}/--no-{flag}", help=_help(name), rich_help_panel="Switches")


@app.callback(invoke_without_command=True)
def tallycast(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Live reaction counts: likes and dislikes that move in every open browser within milliseconds."""
    if show_version:
        version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(help=help_texts.SERVE, epilog=help_texts.SERVE_EXAMPLES)
def serve(
    host: Annotated[str | None, _setting("host", "ADDRESS")] = None,
    port: Annotated[str | None, _setting("port", "NUMBER")] = None,
    socket_mode: Annotated[str | None, _setting("socket_mode", "MODE")] = None,
    socket_owner: Annotated[str | None, _setting("socket_owner", "OWNER")] = None,
    base_path: Annotated[str | None, _setting("base_path", "PATH")] = None,
    workers: Annotated[str | None, _setting("workers", "NUMBER")] = None,
    data: Annotated[str | None, _setting("data", "FOLDER")] = None,
    drain: Annotated[str | None, _setting("drain", "SECONDS")] = None,
    config: Annotated[str | None, _setting("config", "FILE")] = None,
    forwarded_allow_ips: Annotated[str | None, _setting("forwarded_allow_ips", "LIST")] = None,
    metrics_port: Annotated[str | None, _setting("metrics_port", "NUMBER")] = None,
    metrics_host: Annotated[str | None, _setting("metrics_host", "ADDRESS")] = None,
    durability: Annotated[str | None, _setting("durability", "local|replica")] = None,
    log_addresses: Annotated[bool | None, _switch("log_addresses")] = None,
    demo: Annotated[bool | None, _switch("demo")] = None,
    connections: Annotated[str | None, _limit("connections", "NUMBER")] = None,
    address_connections: Annotated[str | None, _limit("address_connections", "NUMBER")] = None,
    address_arrivals: Annotated[str | None, _limit("address_arrivals", "RATE")] = None,
    address_requests: Annotated[str | None, _limit("address_requests", "RATE")] = None,
    address_visitors: Annotated[str | None, _limit("address_visitors", "RATE")] = None,
    request_within: Annotated[str | None, _limit("request_within", "SECONDS")] = None,
    engine_memory: Annotated[str | None, _limit("engine_memory", "SIZE")] = None,
) -> int:
    """Serve; the exit status."""
    settings = load(
        host=host,
        port=port,
        socket_mode=socket_mode,
        socket_owner=socket_owner,
        base_path=base_path,
        workers=workers,
        data=data,
        drain=drain,
        config=config,
        forwarded_allow_ips=forwarded_allow_ips,
        log_addresses=log_addresses,
        demo=demo,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        durability=durability,
        connections=connections,
        address_connections=address_connections,
        address_arrivals=address_arrivals,
        address_requests=address_requests,
        address_visitors=address_visitors,
        request_within=request_within,
        engine_memory=engine_memory,
    )
    logs.configure()
    for name, reason in ignored():
        structlog.get_logger().warning("environment variable ignored", name=name, reason=reason)
    return supervisor.run(settings)


@app.command(help=help_texts.EMBED, epilog=help_texts.EMBED_EXAMPLES)
def embed(
    server: Annotated[
        str,
        typer.Option(metavar="URL", help="Where browsers reach your server, with its path."),
    ] = LOCAL,
    site: Annotated[str, typer.Option(metavar="NAME", help="Your site's name on it.")] = DEFAULT_SITE,
    item: Annotated[
        str | None,
        typer.Option(metavar="ID", help="What is reacted to: 1 to 256 bytes. Left out: the page it is on."),
    ] = None,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin",
            help="Name this version of the script, and its hash: browsers run nothing else. "
            "Paste again after each upgrade of the server.",
        ),
    ] = False,
) -> None:
    """Print the snippet. Advice goes to standard error, and only where somebody reads it."""
    html = snippet(installed(), server, site, item, pinned=pin)
    advise = Console(stderr=True, highlight=False, quiet=not sys.stdout.isatty()).print
    advise(
        "The script goes into a page once, the element to every place that is to have buttons.\n", style="dim"
    )
    print(html, end="", flush=True)
    if server == LOCAL:
        advise(
            "\nThis is for trying it on this machine. --server says where browsers find yours.", style="dim"
        )


# Whoever does not serve reads it once.
_CONFIG = typer.Option(help=_help("config", "The server's file with your sites."), metavar="FILE")

app.command("load", help=command.HELP, epilog=command.EXAMPLES)(command.load)


_SUBJECT = typer.Option("--sub", metavar="ID", help="The visitor, as your own tokens name them.")


@app.command(epilog=help_texts.TRY_EXAMPLES)
def token(
    sub: Annotated[str, _SUBJECT],
    site: Annotated[str, typer.Option(metavar="NAME", help="A site of the file.")] = DEFAULT_SITE,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it holds: 30s, 15m, 1h, 7d.")] = "1h",
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sign with this private key (PEM), not with the site's secret."),
    ] = None,
    config: Annotated[str | None, _CONFIG] = None,
) -> None:
    """Print a publisher's token, for trying out. Your own server makes the real ones."""
    print(admin.make_token(load(config=config), site, sub, ttl, key_file))


@app.command(epilog=help_texts.REVOKE_EXAMPLES)
def revoke(
    sub: Annotated[str, _SUBJECT],
    site: Annotated[str, typer.Option(metavar="NAME", help="A site of the file.")] = DEFAULT_SITE,
    data: Annotated[str | None, typer.Option(help=_help("data"), metavar="FOLDER")] = None,
    config: Annotated[str | None, _CONFIG] = None,
) -> None:
    """Refuse the tokens a visitor was given until now, within 5 seconds everywhere; newer ones hold."""
    logs.configure()
    admin.revoke_tokens(load(config=config, data=data), site, sub)
    print("Revoked: tokens issued before now are refused from here on.")


_DELIMITER = typer.Option(
    help="What is between the values of a CSV file: one character, or tab. Left out: as its header says.",
    metavar="CHARACTER",
)
_ENCODING = typer.Option(
    help="The encoding of the file, such as cp1252. Left out: that of its byte order mark, or else UTF-8. "
    "Rows that are not of an encoding you give are bad.",
    metavar="NAME",
)


@app.command("import", help=help_texts.IMPORT, epilog=help_texts.IMPORT_EXAMPLES)
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or NDJSON; - is standard input.")],
    site: Annotated[str, typer.Option(metavar="NAME", help="A site of the file of sites.")] = DEFAULT_SITE,
    first: Annotated[
        int, typer.Option("--from", metavar="LINE", min=1, help="Go on here: what is before it is imported.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
    delimiter: Annotated[str | None, _DELIMITER] = None,
    encoding: Annotated[str | None, _ENCODING] = None,
    data: Annotated[str | None, typer.Option(help=_help("data"), metavar="FOLDER")] = None,
    config: Annotated[str | None, _CONFIG] = None,
) -> int:
    """Import; the exit status."""
    logs.configure()
    settings = load(config=config, data=data)
    form = admin.file_form(encoding, delimiter)
    return 0 if admin.import_file(settings, site, file, form, first, dry=dry_run) else 1


@app.command(help=help_texts.AUDIT, epilog=help_texts.AUDIT_EXAMPLES)
def audit(
    items: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Count this item anew. May be given many times.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Count all items anew.")] = False,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of this site: the default one, or with --all every one."),
    ] = None,
    data: Annotated[str | None, typer.Option(help=_help("data"), metavar="FOLDER")] = None,
) -> int:
    """Print the audit trail, or count items anew; the exit status."""
    logs.configure()
    if items or everything:
        return counts_audit.run(load(data=data), items or [], everything=everything, site=site)
    if site is not None:
        raise SettingsError("--site: only with --items or --all")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    admin.tell_trail(load(data=data), print, width)
    return 0


app.command("health", epilog=health.EXAMPLES)(health.health)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"tallycast {__version__}")


def main() -> None:
    """Run the command that was typed, and exit."""
    sys.exit(_status(sys.argv[1:]))


def _status(arguments: list[str]) -> int:
    try:
        return app(arguments, prog_name="tallycast", standalone_mode=False) or 0
    except SettingsError as error:
        return _complain(str(error), 2)
    except (StartError, LoadError, ImportFailed, NotHealthy) as error:
        return _complain(str(error), 1)
    except typer.TyperException as error:
        return _complain(_usage(error, arguments), 1 if arguments[0] == "load" else 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", 130)


def _complain(line: str, status: int) -> int:
    print(f"tallycast: {printable(line)}", file=sys.stderr)
    return status


def _usage(error: typer.TyperException, arguments: list[str]) -> str:
    """What is wrong, and whose help tells more."""
    text = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    whose = f"tallycast {arguments[0]} --help" if arguments[0] in known else "tallycast --help"
    return f"{text} See {whose}" if text.endswith("?") else f"{text}; see {whose}"
