"""``tallycast import``: import reactions, or starting counts, from a file.

Does not depend on how rows are read or stored.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tallycast.cli.engine import operator, with_engine
from tallycast.cli.options import Config, Data, SiteName
from tallycast.cli.sites import find_site
from tallycast.config.errors import SettingsError
from tallycast.config.settings import load
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.engine.factory import is_cluster
from tallycast.engine.store import Store
from tallycast.ledger.bulk_import import job
from tallycast.ledger.bulk_import.records import check_delimiter
from tallycast.ledger.bulk_import.source import Source
from tallycast.ledger.bulk_import.text import check_encoding
from tallycast.ledger.bulk_import.writer import ImportWriter
from tallycast.ledger.trail import note
from tallycast.observability import logs

HELP = """
Import reactions, or starting counts, while the server runs. Browsers show the new counts at once.

Reactions: a CSV file with the header [bold]item,visitor,reaction[/bold] and optionally [bold]time[/bold] \
(separated by commas, semicolons, tabs or |), or a JSON object with these names on each line (NDJSON). A \
visitor is u: and your user's id, or an anonymous a:…; a time is seconds since 1970, or like \
2026-01-31T12:00:00Z.

Starting counts, without visitors: [bold]item,like,dislike[/bold], or {"item": "posts/42", "counts": \
{"like": 12}}. They replace earlier starting counts, and are added to what visitors hold.

Importing a file again changes nothing. Bad rows are reported, counted and skipped. A file with a wrong \
header or encoding is not imported at all.

Exit status: 0 every row was imported; 1 some rows were bad, or the import stopped and says where to resume; \
130 interrupted.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast import votes.csv --dry-run[/cyan]
[dim]check every row, import nothing[/dim]

[cyan]tallycast import votes.csv --config tallycast.toml --site blog[/cyan]
[dim]into the site blog of the server with its data in ./data[/dim]

[cyan]REDIS_URL=redis://localhost:6379/0 tallycast import votes.csv[/cyan]
[dim]into that database; set TALLYCAST_PREFIX if its servers have one[/dim]

[cyan]tallycast import votes.txt --encoding cp1252 --delimiter :[/cyan]
[dim]an encoding other than UTF-8, and a delimiter other than , ; tab and |[/dim]

[cyan]zcat votes.ndjson.gz | tallycast import - --from 120001[/cyan]
[dim]resume where an import stopped[/dim]
"""

_FILE = typer.Argument(metavar="FILE", help="CSV or NDJSON; - is standard input.")
_FIRST = typer.Option("--from", metavar="LINE", min=1, help="Resume at this line; skip those before it.")
_DRY_RUN = typer.Option("--dry-run", help="Check the file, import nothing.")
_DELIMITER = typer.Option(
    help="Delimiter of a CSV file: one character, or tab. Default: the one in its header.",
    metavar="CHARACTER",
)
_ENCODING = typer.Option(
    help="Encoding of the file, such as cp1252; rows that are not in it are bad. "
    "Default: that of its byte order mark, or else UTF-8.",
    metavar="NAME",
)


def import_file(
    file: Annotated[Path, _FILE],
    site: SiteName = DEFAULT_SITE,
    first: Annotated[int, _FIRST] = 1,
    dry_run: Annotated[bool, _DRY_RUN] = False,
    delimiter: Annotated[str | None, _DELIMITER] = None,
    encoding: Annotated[str | None, _ENCODING] = None,
    data: Data = None,
    config: Config = None,
) -> int:
    """Import; the exit status."""
    logs.configure()
    settings = load(config=config, data=data)
    form = _form(encoding, delimiter)
    found = find_site(settings, site)
    if not dry_run and is_cluster(settings.redis_url or ""):
        raise SettingsError(
            "an import needs a standalone engine, not a cluster; docs/admin.md says what to do instead"
        )

    with Source(file) as source:

        async def work(engine: Store) -> bool:
            async def record(action: str, details: str) -> None:
                await note(engine, operator(), action, found.name, details=details)

            return await job.run(source, form, found, first, ImportWriter(engine, found).write, record)

        if dry_run:
            complete = asyncio.run(job.run(source, form, found, first, None, _unrecorded))
        else:
            complete = with_engine(settings, work)
    return 0 if complete else 1


def _form(encoding: str | None, delimiter: str | None) -> job.Form:
    option = "--encoding"
    try:
        if encoding is not None:
            check_encoding(encoding)
        option = "--delimiter"
        return job.Form(encoding, None if delimiter is None else check_delimiter(delimiter))
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from None


async def _unrecorded(_action: str, _details: str) -> None:
    """A dry run leaves no entry in the trail."""
