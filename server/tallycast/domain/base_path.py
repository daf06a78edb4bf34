"""The base path of a server, such as ``/tally/`` in ``https://example.org/tally/``.

Owns its form (it begins and ends with a slash, and is ``/`` by default) and how it is removed from a
request's target. Does not depend on settings, HTTP or proxies.
"""

import re

ROOT = "/"
# Unreserved characters (RFC 3986, section 2.3), which browsers, proxies and this server write alike.
_FORM = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]{1,64}){1,8}/?")
# The first segments of this server's own paths. Below one of them, it would be unknown whether a proxy has
# removed the base path.
RESERVED = frozenset(
    ("v1", "ws", "static", "demo", "live", "livez", "readyz", "metrics", "embed.js", "openapi.json")
)


def check(text: str) -> str:
    """Validate a base path, and return it with its slashes.

    Raises:
        ValueError: it is not a base path.
    """
    if text == ROOT:
        return ROOT
    if not _FORM.fullmatch(text):
        raise ValueError("not a path")
    if text.split("/")[1] in RESERVED:
        raise ValueError("one of the server's own")
    return text.rstrip("/") + "/"


def strip(target: bytes, base: bytes) -> bytes:
    """A request's target without the base path, which a proxy may have removed already."""
    return target[len(base) - 1 :] if target.startswith(base) else target
