"""The site and the visitor that a sub-command is given.

Owns their lookup and checks. Does not depend on what is done with them.
"""

from tallycast.config import sites as sites_file
from tallycast.config.errors import SettingsError
from tallycast.config.settings import Settings
from tallycast.domain.sites import Site
from tallycast.domain.tokens import SUBJECT_BYTES, is_subject


def find_site(settings: Settings, name: str) -> Site:
    """A site of the sites file; without a file, the default one.

    Raises:
        SettingsError: there is no such site.
    """
    path = settings.config
    sites = sites_file.sites(sites_file.read(path) if path else None, str(path))
    if name in sites:
        return sites[name]
    if path is None:
        raise SettingsError(f"--site: no site {name!r} without a sites file: give the file with --config")
    raise SettingsError(f"--site: no site {name!r}; expected one of {', '.join(sites)}")


def check_subject(subject: str) -> None:
    """Accept the subject of a token.

    Raises:
        SettingsError: it is empty, too long, or not UTF-8.
    """
    if not is_subject(subject):
        raise SettingsError(f"--sub: expected 1 to {SUBJECT_BYTES} bytes of UTF-8")
