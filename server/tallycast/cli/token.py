"""``tallycast token``: print a publisher's token to test with.

Does not depend on an engine, nor on how tokens are verified.
"""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from tallycast.access.signing import signing_key
from tallycast.cli.options import Config, SiteName, Subject
from tallycast.cli.sites import check_subject, find_site
from tallycast.config.errors import SettingsError
from tallycast.config.settings import load
from tallycast.domain.sites import DEFAULT_SITE
from tallycast.domain.tokens import MAX_AGE, issue

HELP = "Print a token for one of your visitors, to test with. In production your own server issues tokens."

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast token --config tallycast.toml --site blog --sub 42[/cyan]
[dim]signed with the secret of the site blog, valid for one hour[/dim]

[cyan]tallycast token --config tallycast.toml --site blog --sub 42 --key-file private.pem --ttl 7d[/cyan]
[dim]signed with the private key of one of the site's public keys[/dim]
"""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_TTL = typer.Option(metavar="TIME", help="Lifetime, such as 30s, 15m, 1h or 7d; at most 90d.")
_KEY_FILE = typer.Option(
    metavar="FILE", help="Sign with this private key (PEM) instead of the site's secret."
)


def token(
    sub: Subject,
    site: SiteName = DEFAULT_SITE,
    ttl: Annotated[str, _TTL] = "1h",
    key_file: Annotated[Path | None, _KEY_FILE] = None,
    config: Config = None,
) -> None:
    """Print the token."""
    settings = load(config=config)
    found = find_site(settings, site)
    check_subject(sub)
    if settings.config is None:
        raise SettingsError("--config: required, because a token is signed with a key of the sites file")
    print(issue(sub, found.name, signing_key(found, key_file), time.time(), _seconds(ttl)))


def _seconds(ttl: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([smhd])", ttl, re.ASCII)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= MAX_AGE:
        raise SettingsError(f"--ttl: expected a time such as 30s, 15m, 1h or 7d, at most 90d, not {ttl!r}")
    return seconds
