"""``tallycast audit --items … | --all``: counts who holds what, and tells what differed.

Owns what the command shows: a bar on a terminal, a plain line now and then elsewhere, both on standard error;
each difference and the summary on standard output. Must not know how an item is counted.
"""

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tallycast.cli.admin import with_engine
from tallycast.config.settings import Settings
from tallycast.contract.errors import BadItem, SettingsError
from tallycast.contract.items import check_item
from tallycast.domain.printable import printable
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.engine.store import Store
from tallycast.ledger import audit
from tallycast.ledger.audit import Finding, Outcome

DIFFERED = 3
# Where no terminal is, how often (s) a line says how far it is.
TELL_EVERY = 5.0


def run(settings: Settings, items: Sequence[str], *, everything: bool, site: str | None) -> int:
    """Audit these items of a site, or all of a site or of every site; the exit status.

    Raises:
        SettingsError: both were asked for, or an item cannot be.
        StartError: the engine cannot be used.
    """
    if items and everything:
        raise SettingsError("--items and --all: one of them")
    for item in items:
        try:
            check_item(item)
        except BadItem as refusal:
            raise SettingsError(f"--items: {refusal}") from None
    outcomes: Counter[Outcome] = Counter()

    async def work(engine: Store) -> None:
        targets = _all(engine, site) if everything else _these(site or DEFAULT_SITE, items)
        total = await engine.size() if everything else len(items)
        with _Shown(total) as shown:
            async for done, page in targets:
                for where in page:
                    finding = await audit.check(engine, *where)
                    outcomes[finding.outcome] += 1
                    if (line := _line(finding, asked=not everything)) is not None:
                        shown.line(line)
                    shown.advance(0, outcomes.total())
                shown.advance(done, outcomes.total())

    with_engine(settings, work, "the audit was cut off")
    print(_summary(outcomes))
    return DIFFERED if outcomes[Outcome.REPAIRED] or outcomes[Outcome.FAILED] else 0


Targets = AsyncIterator[tuple[int, Sequence[tuple[str, str]]]]


async def _all(engine: Store, site: str | None) -> Targets:
    async for page in audit.pages(engine, site):
        yield page.keys, page.items


async def _these(site: str, items: Sequence[str]) -> Targets:
    for item in items:
        yield 1, [(site, item)]


def _line(finding: Finding, *, asked: bool) -> str | None:
    """A difference, or what is to be said of an item that somebody ``asked`` for; else nothing."""
    where = f"{finding.site}  {finding.item}"
    if finding.outcome is Outcome.REPAIRED:
        pairs = ((kind, count, finding.counted[kind]) for kind, count in finding.stored.items())
        changes = (f"{kind} {was} -> {now}" for kind, was, now in pairs if was != now)
        return f"repaired  {where}  {', '.join(changes)}"
    if finding.outcome is Outcome.FAILED:
        return f"failed    {where}  it could not be counted; somebody else may have written it"
    if not asked:
        return None
    if finding.outcome is Outcome.ABSENT:
        return f"unknown   {where}  nobody has ever reacted to it"
    counts = ", ".join(f"{kind} {count}" for kind, count in finding.stored.items())
    return f"right     {where}  {counts}"


def _summary(outcomes: Counter[Outcome]) -> str:
    repaired, failed = outcomes[Outcome.REPAIRED], outcomes[Outcome.FAILED]
    items = f"{outcomes.total():,} item{'s' if outcomes.total() != 1 else ''} audited"
    parts = [f"{repaired:,} differed and {'were' if repaired != 1 else 'was'} repaired"] if repaired else []
    parts += [f"{failed:,} could not be counted"] if failed else []
    return f"{items}: {', '.join(parts) or 'all counts are right'}."


class _Shown:
    """How far it is."""

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
        self._told = time.monotonic()

    def __enter__(self) -> "_Shown":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int, items: int) -> None:
        """So much more of the total is done; so many items altogether."""
        if self._bar is not None:
            self._bar.update(self._task, advance=done, description=f"{items:,} items audited")
        elif time.monotonic() - self._told > TELL_EVERY:
            self._told = time.monotonic()
            print(f"{items:,} items audited", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Say something that stays."""
        text = printable(text)
        if self._bar is not None and sys.stdout.isatty():
            self._bar.console.print(text, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)
