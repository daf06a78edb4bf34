"""What an operator does beside a running server: make a token for trying out, revoke a visitor's tokens,
import a file, see what administrators did.

Owns these tasks from the settings to the result. Must not know how they are asked for, nor how to serve.
"""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from pwd import getpwuid
from textwrap import wrap
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tallycast.access.revocations import revoke
from tallycast.config import sites as sites_file
from tallycast.config.settings import Settings
from tallycast.contract.errors import SettingsError, StartError, Unavailable
from tallycast.domain.keys import algorithm_of, check_key
from tallycast.domain.printable import printable
from tallycast.domain.sites import Site
from tallycast.domain.tokens import MAX_AGE, SUBJECT_BYTES, Claims, Key, issue
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.factory import is_cluster, open_store
from tallycast.engine.keys import member
from tallycast.engine.store import Store, wait_until_ready
from tallycast.ledger.bulk_import import job as bulk
from tallycast.ledger.bulk_import.records import check_delimiter
from tallycast.ledger.bulk_import.source import Source
from tallycast.ledger.bulk_import.text import check_encoding
from tallycast.ledger.bulk_import.writer import ImportWriter
from tallycast.ledger.trail import Entry, entries, note

T = TypeVar("T")

PATIENCE = 5.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def make_token(settings: Settings, site_name: str, subject: str, ttl: str, key_file: Path | None) -> str:
    """A token for a visitor of a site, signed with its secret, or with the private key in a file.

    Raises:
        SettingsError: it cannot be made from what was given.
    """
    site = _site(settings, site_name)
    _check_subject(subject)
    if settings.config is None:
        raise SettingsError("--config: a token is signed with a key of a file of sites: say which file")
    key = _secret(site) if key_file is None else _private_key(site, key_file)
    return issue(subject, site.name, key, time.time(), _seconds(ttl))


def revoke_tokens(settings: Settings, site_name: str, subject: str) -> None:
    """Refuse what was issued to a publisher's visitor until now, on every server of this engine.

    Raises:
        SettingsError: there is no such site, or visitor.
        StartError: the engine cannot be used.
    """
    site = _site(settings, site_name)
    _check_subject(subject)
    visitor = f"u:{subject}"

    async def work(engine: Store) -> None:
        await note(engine, _operator(), "revoke", site.name, member=member(visitor))
        await revoke(engine, site.name, visitor)

    with_engine(settings, work, "not revoked")


def tell_trail(settings: Settings, tell: Callable[[str], None], width: int | None = None) -> None:
    """Tell what was done on this engine, the oldest first: a line each, folded where it is longer than that.

    Raises:
        StartError: the engine cannot be used.
    """

    async def read(engine: Store) -> None:
        async for page in entries(engine):
            for entry in page:
                tell(_line(entry, width))

    with_engine(settings, read, "the audit trail cannot be read")


def file_form(encoding: str | None, delimiter: str | None) -> bulk.Form:
    """How a file is written, as far as it is said.

    Raises:
        SettingsError: there is no such encoding, or delimiter.
    """
    try:
        option = "--encoding"
        if encoding is not None:
            check_encoding(encoding)
        option = "--delimiter"
        return bulk.Form(encoding, None if delimiter is None else check_delimiter(delimiter))
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from None


def import_file(
    settings: Settings, site_name: str, file: Path, form: bulk.Form, first: int, *, dry: bool
) -> bool:
    """Import reactions or starting counts from a file, from line ``first`` on; ``dry``: only check it.

    Whether every row was right.

    Raises:
        SettingsError: there is no such site.
        StartError: the engine cannot be used.
        ImportFailed: the file cannot be read, or the engine went away.
    """
    site = _site(settings, site_name)
    if not dry and is_cluster(settings.redis_url or ""):
        raise SettingsError(
            "an import needs one engine, where index and item change in one step, not a cluster; "
            "docs/admin.md says what to do instead"
        )

    with Source(file) as source:

        async def work(engine: Store) -> bool:
            async def tell(what: str, more: str) -> None:
                await note(engine, _operator(), what, site.name, more=more)

            return await bulk.run(source, form, site, first, ImportWriter(engine, site).take, tell)

        if dry:
            return asyncio.run(bulk.run(source, form, site, first, None, _unnoted))
        return with_engine(settings, work)


async def _unnoted(_what: str, _more: str) -> None:
    """Nothing is done."""


def _operator() -> str:
    """Who does it, for the audit trail: the user of this machine."""
    try:
        name = getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, say
        name = str(os.getuid())
    return f"cli:{name}"


def _line(entry: Entry, width: int | None) -> str:
    """When, who, what, site, and what it was done to; last, because an item's id may have spaces."""
    when = datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(timespec="milliseconds")
    whom = f"visitor {entry.member}" if entry.member else entry.item or entry.more
    head = f"{when.removesuffix('+00:00')}Z  {entry.who:<19}  {entry.what:<8}  {entry.site}"
    # A terminal obeys what is in a file's name.
    line, head, whom = map(printable, (f"{head}  {whom}".rstrip(), head, whom))
    if width is None or len(line) <= width:
        return line
    return "\n".join((head, *wrap(whom, width, initial_indent="    ", subsequent_indent="    ")))


def with_engine(
    settings: Settings, work: Callable[[Store], Awaitable[T]], failed: str = "the engine is away"
) -> T:
    """Do something with the engine of the servers that run with these settings."""
    url = settings.redis_url or running_engine(settings.data)

    async def run() -> T:
        engine = open_store(url, prefix=settings.prefix or "")
        try:
            await wait_until_ready(engine, PATIENCE)
            return await work(engine)
        except Unavailable as refusal:
            raise StartError(f"{failed}: {refusal}") from None
        finally:
            await engine.close()

    return asyncio.run(run())


def _site(settings: Settings, name: str) -> Site:
    path = settings.config
    sites = sites_file.sites(sites_file.read(path) if path else None, str(path))
    if name not in sites and path is None:
        raise SettingsError(
            f"--site: there is no site {name!r} without a file of sites: give it with --config"
        )
    if name not in sites:
        raise SettingsError(f"--site: there is no site {name!r}; there are: {', '.join(sites)}")
    return sites[name]


def _check_subject(subject: str) -> None:
    if not 1 <= len(subject.encode(errors="replace")) <= SUBJECT_BYTES:
        raise SettingsError(f"--sub: expected 1 to {SUBJECT_BYTES} bytes")


def _seconds(ttl: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([smhd])", ttl, re.ASCII)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= MAX_AGE:
        raise SettingsError(f"--ttl: expected a time such as 30s, 15m, 1h or 7d, at most 90d, not {ttl!r}")
    return seconds


def _secret(site: Site) -> Key:
    for key in site.keys:
        if isinstance(key, Key) and key.algorithm == "HS256":
            return key
    raise SettingsError(
        f"site {site.name} has no secret in the sites file: give the private key with --key-file, "
        "or add a secret; see docs/configuration.md"
    )


def _private_key(site: Site, file: Path) -> Key:
    try:
        loaded = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"--key-file: {file}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(f"--key-file: {file}: not a private key in PEM form without a password") from None
    algorithm = algorithm_of(loaded) or "any algorithm taken here"
    try:
        check_key(loaded, algorithm)
    except ValueError as error:
        raise SettingsError(f"--key-file: {file}: {error}") from None
    listed = [key for key in site.keys if key.algorithm == algorithm]
    ids = [key.id for key in listed if isinstance(key, Key)]
    claims = listed[0].claims if listed else Claims()
    return Key(algorithm, "", ids[0] if ids else None, loaded, claims)
