"""URLs of engines: validation, and what may be shown of one.

Does not depend on settings or on clients of engines.
"""

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

# Allowed query parameters: the options of redis-py for the address and the credentials.
OPTIONS = frozenset(
    (
        *("cluster", "db", "username", "password", "client_name"),
        *(
            "ssl_cert_reqs",
            "ssl_ca_certs",
            "ssl_ca_path",
            "ssl_certfile",
            "ssl_keyfile",
            "ssl_check_hostname",
        ),
    )
)
SCHEMES = ("redis", "rediss", "unix")


def check(value: str) -> str:
    """Return ``value`` when it is the URL of an engine.

    Raises:
        ValueError: it is not.
    """
    scheme, separator, _ = value.partition("://")
    url = urlsplit(value)
    if url.fragment:
        raise ValueError("a fragment")
    if scheme not in SCHEMES or not separator or (scheme == "unix" and not url.path):
        raise ValueError("not an engine")
    if url.port == 0:  # Any other invalid port raises ValueError by itself.
        raise ValueError("not a port")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if not options.keys() <= OPTIONS or not options.get("db", "0").isdecimal():
        raise ValueError("not an option")
    if scheme != "unix" and not re.fullmatch(r"/?\d*", url.path):
        raise ValueError("not a database")
    if "cluster" in options:
        _check_cluster(scheme, url.path, options)
    return value


def _check_cluster(scheme: str, path: str, options: dict[str, str]) -> None:
    """A cluster is reached over TCP, and has one database only."""
    if options["cluster"] not in ("true", "false"):
        raise ValueError("neither true nor false")
    if options["cluster"] == "true" and (scheme == "unix" or int(options.get("db") or path.strip("/") or 0)):
        raise ValueError("not a cluster")


def without_password(url: str) -> str:
    """The URL of an engine without its password, for output and logs."""
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        user = f"{user.partition(':')[0]}:***" if ":" in user else user
        query = [(key, "***" if "pass" in key else value) for key, value in parse_qsl(parts.query)]
        shown = SplitResult(parts.scheme, f"{user}{at}{host}", parts.path, urlencode(query, safe="*/:"), "")
    except ValueError:
        return "***"
    text = urlunsplit(shown)
    # urlunsplit may drop the empty authority: unix:/run/x.sock.
    return text if "://" in text else text.replace(":", "://", 1)
