"""``tallycast load``: flags, help and exit statuses.

Owns the option list, and who is told what: progress on standard error, the table on standard output, reports
in files. Must not know how a run goes.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from tallycast.contract.errors import LoadError

from tallycast_load.client.metrics import Metrics
from tallycast_load.client.target import Target
from tallycast_load.coordinator import private_server
from tallycast_load.coordinator.private_server import PrivateServer
from tallycast_load.coordinator.run import Result, Run
from tallycast_load.plan.plan import Plan, help_of, make
from tallycast_load.processes import machine
from tallycast_load.report import data, page, progress, table
from tallycast_load.verdict.verdict import INTERRUPTED

HELP = """
Put load on a server that keeps the contract, measure it, and check that nothing was lost.

Without a URL it starts a private server on a free port: a smaller load, for a first look.

Exit status: 0 all is well; 99 a threshold was missed; 3 a check failed; 2 INVALID: the generator did \
not keep up; 1 it could not be run, or not be checked; 130 interrupted.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast load[/cyan]
[dim]a first look, against a private server[/dim]

[cyan]tallycast load https://tally.example --connections 20k --reactions 1k/s --threshold 'p99<50ms'[/cyan]
[dim]the exit status says whether it held[/dim]

[cyan]tallycast load https://tally.example --scenario examples/load/livestream.toml --html report.html[/cyan]
[dim]one hot item, and a report to look at[/dim]
"""


def _option(name: str, metavar: str) -> Any:
    default = Plan.model_fields[name].default
    shown = {"visitors": "5000, or one for each connection", "processes": "auto", "threshold": "none"}.get(
        name, _shown(name, default)
    )
    return typer.Option(
        f"--{name}", help=f"{help_of(name)} [dim]\\[{shown}][/dim]", metavar=metavar, show_default=False
    )


def _shown(name: str, default: Any) -> str:
    if name in ("duration", "warmup"):
        return f"{default:g}s"
    if name in ("reactions", "ramp", "churn"):
        return f"{default:g}/s"
    return f"{default:.0%}" if name == "slow" else str(default)


Text = str | None


def load(
    context: typer.Context,
    url: Annotated[
        Text, typer.Argument(metavar="URL", help="The server, such as https://tally.example.")
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option(
            help="Take the options from this file; those on the command line win.", metavar="FILE.toml"
        ),
    ] = None,
    connections: Annotated[Text, _option("connections", "NUMBER")] = None,
    items: Annotated[Text, _option("items", "NUMBER")] = None,
    watch: Annotated[Text, _option("watch", "NUMBER")] = None,
    spread: Annotated[Text, _option("spread", "SPREAD")] = None,
    reactions: Annotated[Text, _option("reactions", "RATE")] = None,
    arrivals: Annotated[Text, _option("arrivals", "poisson|fixed")] = None,
    visitors: Annotated[Text, _option("visitors", "NUMBER")] = None,
    duration: Annotated[Text, _option("duration", "TIME")] = None,
    warmup: Annotated[Text, _option("warmup", "TIME")] = None,
    ramp: Annotated[Text, _option("ramp", "RATE")] = None,
    protocol: Annotated[Text, _option("protocol", "json|msgpack")] = None,
    transport: Annotated[Text, _option("transport", "ws|sse")] = None,
    processes: Annotated[Text, _option("processes", "NUMBER")] = None,
    churn: Annotated[Text, _option("churn", "RATE")] = None,
    slow: Annotated[Text, _option("slow", "SHARE")] = None,
    threshold: Annotated[list[str] | None, _option("threshold", "'p99<50ms'")] = None,
    site: Annotated[Text, _option("site", "NAME")] = None,
    seed: Annotated[Text, _option("seed", "NUMBER")] = None,
    token_key: Annotated[
        Text,
        typer.Option(
            help="Sign the visitors' tokens with this key of the site (HS256); otherwise they are anonymous.",
            metavar="KEY",
            envvar="TALLYCAST_TOKEN_KEY",
            show_envvar=True,
        ),
    ] = None,
    metrics: Annotated[
        Text,
        typer.Option(help="Show the server's Prometheus metrics in the report.", metavar="URL"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.", metavar="FILE")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report to look at: one file.", metavar="FILE")
    ] = None,
) -> int:
    """Run it; the exit status. The plan's options are taken from the context, where they have names."""
    flags = {name: context.params[name] for name in context.params.keys() & Plan.model_fields.keys()}
    plan = make(flags, scenario, private=url is None)
    looked_at = Metrics(metrics) if metrics else None
    for file in (json, html):
        _writable(file)
    try:
        result = asyncio.run(_load(plan, url, token_key, looked_at))
    except KeyboardInterrupt:  # before there was anything to report
        print("tallycast: interrupted", file=sys.stderr)
        return INTERRUPTED
    table.show(result)
    if json is not None:
        _write(json, data.text(result))
    if html is not None:
        _write(html, page.text(result))
    return result.verdict.status


def _writable(file: Path | None) -> None:
    """Better said now than after a minute of load."""
    if file is not None:
        there = file.exists()
        try:
            file.open("a").close()
            if not there:
                file.unlink()
        except OSError as error:
            raise LoadError(f"{file}: {(error.strerror or str(error)).lower()}") from None


def _write(file: Path, report: str) -> None:
    """Beside the table, so that it need not be looked for; not in it, because the table may be piped."""
    try:
        file.write_text(report, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {file}", file=sys.stderr)


async def _load(plan: Plan, url: str | None, token_key: str | None, metrics: Metrics | None) -> Result:
    if url is None:
        print(private_server.LOOSENED, file=sys.stderr, flush=True)
    show = progress.show()
    try:
        async with AsyncExitStack() as stack:
            if url is None:
                machine.allow_files(plan.connections + machine.SPARE_FILES)
                url = (await stack.enter_async_context(PrivateServer(plan.connections))).url
            run = Run(plan, Target.parse(url), show, token_key, metrics)
            return await _interruptible(run)
    finally:
        show.close()


async def _interruptible(run: Run) -> Result:
    """Ctrl+C ends the run, not the report."""
    work = asyncio.create_task(run.execute())
    told = False

    def interrupt() -> None:
        nonlocal told
        told = True
        work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await work
    except asyncio.CancelledError:
        if not told:
            raise
        return run.interrupt()
