"""The key that a trial token is signed with: a site's secret, or a private key in a file.

Does not depend on what a token says, nor on how tokens are verified.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tallycast.config.errors import SettingsError
from tallycast.domain.keys import algorithm_of, check_key
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Claims, Key


def signing_key(site: Site, file: Path | None) -> Key:
    """The private key in a file, for the algorithm and claims of the site's keys; without one, its secret.

    Raises:
        SettingsError: the site has no secret, or the file no usable key.
    """
    return _secret(site) if file is None else _private_key(site, file)


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
    algorithm = algorithm_of(loaded) or "a supported algorithm"
    try:
        check_key(loaded, algorithm)
    except ValueError as error:
        raise SettingsError(f"--key-file: {file}: {error}") from None
    listed = [key for key in site.keys if key.algorithm == algorithm]
    ids = [key.id for key in listed if isinstance(key, Key)]
    claims = listed[0].claims if listed else Claims()
    return Key(algorithm, "", ids[0] if ids else None, loaded, claims)
