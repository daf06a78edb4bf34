"""One import from beginning to end.

Owns how the parts of an import work together, the message when it stops, and the entries in the audit trail.
Does not depend on the engine.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.importer import Importer, Progress, Store
from tallycast.ledger.bulk_import.rows import Rows, Start, Vote
from tallycast.ledger.bulk_import.show import BadRows, counted, show, summary
from tallycast.ledger.bulk_import.source import Source
from tallycast.ledger.bulk_import.text import Text

# Adds an entry to the audit trail: the action, and its details.
Note = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True)
class Form:
    """The form of a file, as far as the user specifies it; ``None``: as the file itself specifies it."""

    encoding: str | None = None
    delimiter: str | None = None


async def run(source: Source, form: Form, site: Site, first: int, store: Store | None, note: Note) -> bool:
    """Import a file, from line ``first`` on, or only check it, without a store. Returns whether all was good.

    An error in the file as a whole is found before the first row is stored, except a wrong encoding of input
    that can be read only once.

    Raises:
        ImportFailed: it cannot be read, its encoding or header is wrong, or the store was unavailable for too
        long.
    """
    # asyncio's own way waits for the next turn of the loop: there is none while a silent pipe is read.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _check_encoding(source, form)
    text = Text(source.blocks(), form.encoding)
    rows = Rows(site, time.time()).read(text, first, form.delimiter)
    shown = show()
    bad_rows = BadRows(shown)

    def on_progress(progress: Progress) -> None:
        # Rows are read ahead of those that are stored.
        done = (progress.stored + progress.bad) / progress.read
        shown.progress(progress, None if source.share is None else source.share * done)

    importer = Importer(store or _discard, bad_rows.add, on_progress)
    began = time.monotonic()
    ended = False
    try:
        await note("import", source.name if first == 1 else f"{source.name} from line {first}")
        await importer.run(rows)
        ended = True
    except ImportFailed as failure:
        if store is None or importer.progress.line == 1:
            raise
        raise ImportFailed(_stopped(importer.progress, first, str(failure))) from None
    except Unavailable as refusal:
        raise ImportFailed(_stopped(importer.progress, first, str(refusal))) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        shown.say(f"tallycast: {_stopped(importer.progress, first, 'interrupted')}")
        raise
    finally:
        bad_rows.close()
        shown.close()
        with suppress(Unavailable):
            await note("imported", _outcome(importer.progress, first, source, ended=ended))
    print(summary(importer.progress, time.monotonic() - began, dry=store is None), flush=True)
    return not importer.progress.bad


def _check_encoding(source: Source, form: Form) -> None:
    """Read all of a file that can be read again, so that nothing of it is stored if its encoding is wrong."""
    if source.rewind():
        for _ in Text(source.blocks(), form.encoding).lines():
            pass
        source.rewind()


def _outcome(progress: Progress, first: int, source: Source, *, ended: bool) -> str:
    """The outcome, for the audit trail."""
    how = f"sha256:{source.digest}" if ended else f"stopped at line {max(progress.line, first)}"
    return f"{source.name}: {counted(progress)}, {how}"


async def _discard(batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
    return [None] * len(batch)


def _stopped(progress: Progress, first: int, reason: str) -> str:
    line = max(progress.line, first)
    return f"stopped at line {line}: {reason}. What comes before it is imported: go on with --from {line}"
