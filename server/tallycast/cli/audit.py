"""``tallycast audit``: print the trail, or recount items and compare.

Owns what an audit of counts prints: each difference and the summary on standard output; progress on standard
error, as a bar on a terminal, else as a plain line now and then. Does not depend on how an item is counted.
"""

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tallycast.cli.engine import with_engine
from tallycast.cli.options import Data
from tallycast.cli.trail import print_trail
from tallycast.config.errors import SettingsError
from tallycast.config.settings import Settings, load
from tallycast.contract.errors import BadItem
from tallycast.contract.items import check_item
from tallycast.domain.printable import printable
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.engine.store import Store
from tallycast.ledger.audit import Finding, Outcome, check, pages
from tallycast.observability import logs

HELP = """
Print the audit trail of administrators' actions, or recount items.

The trail has what was done with admin keys, and by revoke and import, the oldest first: time, \
administrator, action, site and object.

With [bold]--items[/bold] or [bold]--all[/bold], recount the reactions stored for items instead, compare the \
result with the counts shown, and list and repair what differs. Exit status: 0 all counts were right; 3 some \
were not, or could not be verified.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast audit[/cyan]
[dim]of the server with its data in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast audit | grep reset[/cyan]
[dim]of all servers of that database; set TALLYCAST_PREFIX if they have one[/dim]

[cyan]tallycast audit --all[/cyan]
[dim]recount every item, and compare[/dim]

[cyan]tallycast audit --site blog --items posts/42 --items posts/43[/cyan]
[dim]the same for two items of the site blog[/dim]
"""

DIFFERED = 3
REPORT_INTERVAL = 5.0  # seconds, without a terminal

_ITEMS = typer.Option(metavar="ID", help="Recount this item. May be repeated.")
_ALL = typer.Option("--all", help="Recount all items.")
_SITE = typer.Option(metavar="NAME", help="The site. Default: default, or with --all every site.")


def audit(
    items: Annotated[list[str] | None, _ITEMS] = None,
    everything: Annotated[bool, _ALL] = False,
    site: Annotated[str | None, _SITE] = None,
    data: Data = None,
) -> int:
    """Print the trail, or recount items; the exit status."""
    logs.configure()
    settings = load(data=data)
    if items or everything:
        return recount(settings, items or [], everything=everything, site=site)
    if site is not None:
        raise SettingsError("--site: only with --items or --all")
    print_trail(settings)
    return 0


def recount(settings: Settings, items: Sequence[str], *, everything: bool, site: str | None) -> int:
    """Recount these items of a site, or all items of a site or of every site; the exit status.

    Raises:
        SettingsError: both were given, or an item id is invalid.
        StartError: the engine cannot be used.
    """
    if items and everything:
        raise SettingsError("--items and --all: give one of them")
    for item in items:
        try:
            check_item(item)
        except BadItem as refusal:
            raise SettingsError(f"--items: {refusal}") from None
    outcomes: Counter[Outcome] = Counter()

    async def work(engine: Store) -> None:
        targets = _all(engine, site) if everything else _listed(site or DEFAULT_SITE, items)
        total = await engine.size() if everything else len(items)
        with _Output(total) as output:
            async for done, page in targets:
                for where in page:
                    finding = await check(engine, *where)
                    outcomes[finding.outcome] += 1
                    if (line := _line(finding, listed=not everything)) is not None:
                        output.line(line)
                    output.advance(0, outcomes.total())
                output.advance(done, outcomes.total())

    with_engine(settings, work, "the audit was cut off")
    print(_summary(outcomes))
    return DIFFERED if outcomes[Outcome.REPAIRED] or outcomes[Outcome.FAILED] else 0


# How many keys were scanned, and the (site, item) pairs among them.
Targets = AsyncIterator[tuple[int, Sequence[tuple[str, str]]]]


async def _all(engine: Store, site: str | None) -> Targets:
    async for page in pages(engine, site):
        yield page.keys, page.items


async def _listed(site: str, items: Sequence[str]) -> Targets:
    for item in items:
        yield 1, [(site, item)]


def _line(finding: Finding, *, listed: bool) -> str | None:
    """A difference; for an item that was ``listed`` with --items, its result in any case."""
    where = f"{finding.site}  {finding.item}"
    if finding.outcome is Outcome.REPAIRED:
        pairs = ((kind, count, finding.counted[kind]) for kind, count in finding.stored.items())
        changes = (f"{kind} {was} -> {now}" for kind, was, now in pairs if was != now)
        return f"repaired  {where}  {', '.join(changes)}"
    if finding.outcome is Outcome.FAILED:
        return f"failed    {where}  could not be counted; another program may have written it"
    if not listed:
        return None
    if finding.outcome is Outcome.ABSENT:
        return f"unknown   {where}  no reactions stored"
    counts = ", ".join(f"{kind} {count}" for kind, count in finding.stored.items())
    return f"right     {where}  {counts}"


def _summary(outcomes: Counter[Outcome]) -> str:
    repaired, failed = outcomes[Outcome.REPAIRED], outcomes[Outcome.FAILED]
    items = f"{outcomes.total():,} item{'s' if outcomes.total() != 1 else ''} audited"
    parts = [f"{repaired:,} differed and {'were' if repaired != 1 else 'was'} repaired"] if repaired else []
    parts += [f"{failed:,} could not be counted"] if failed else []
    return f"{items}: {', '.join(parts) or 'all counts are right'}."


class _Output:
    """Progress on standard error, and lines on standard output that do not disturb it."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("auditing", total=max(total, 1))
        self._reported = time.monotonic()

    def __enter__(self) -> "_Output":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int, items: int) -> None:
        """Add ``done`` to the progress; ``items`` have been audited altogether."""
        if self._bar is not None:
            self._bar.update(self._task, advance=done, description=f"{items:,} items audited")
        elif time.monotonic() - self._reported > REPORT_INTERVAL:
            self._reported = time.monotonic()
            print(f"{items:,} items audited", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        text = printable(text)
        if self._bar is not None and sys.stdout.isatty():
            self._bar.console.print(text, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)
