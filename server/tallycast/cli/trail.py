"""``tallycast audit`` without items: print the trail of what administrators did.

Owns the form of its lines. Does not depend on which actions there are.
"""

import shutil
import sys
from datetime import UTC, datetime
from textwrap import wrap

from tallycast.cli.engine import with_engine
from tallycast.config.settings import Settings
from tallycast.domain.printable import printable
from tallycast.engine.store import Store
from tallycast.ledger.trail import Entry, entries


def print_trail(settings: Settings) -> None:
    """Print every entry, the oldest first: one line each, wrapped to the width of a terminal.

    Where there is none, says so on standard error.

    Raises:
        StartError: the engine cannot be used.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    async def read(engine: Store) -> None:
        empty = True
        async for page in entries(engine):
            for entry in page:
                empty = False
                print(_line(entry, width))
        if empty:
            print("the audit trail is empty", file=sys.stderr)

    with_engine(settings, read, "the audit trail cannot be read")


def _line(entry: Entry, width: int | None) -> str:
    """Time, administrator, action, site and object; the object is last because an item id may have spaces."""
    when = datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(timespec="milliseconds")
    target = f"visitor {entry.member}" if entry.member else entry.item or entry.details
    head = f"{when.removesuffix('+00:00')}Z  {entry.actor:<19}  {entry.action:<8}  {entry.site}"
    # A file name may hold control sequences.
    line, head, target = map(printable, (f"{head}  {target}".rstrip(), head, target))
    if width is None or len(line) <= width:
        return line
    return "\n".join((head, *wrap(target, width, initial_indent="    ", subsequent_indent="    ")))
