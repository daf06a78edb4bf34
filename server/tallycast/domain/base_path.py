"""The path below which a server is reached, such as ``/tally/`` of ``https://example.org/tally/``.

Owns its form (it begins and ends with a slash, and is ``/`` where there is none) and how it is taken off a
request's target. Does not depend on settings, HTTP or proxies.
"""

import re

ROOT = "/"
# Unreserved characters (RFC 3986, section 2.3): browsers, proxies and this server write them alike.
_FORM = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]{1,64}){1,8}/?")
# The first segments of this server's own paths. Below one of them it could not be told whether a proxy has
# taken the base path off or not.
RESERVED = frozenset(
    ("v1", "ws", "static", "demo", "live", "livez", "readyz", "metrics", "embed.js", "openapi.json")
)


def check(text: str) -> str:
    """A base path in its own form.

    Raises:
        ValueError: it is none; the text says what is wrong with it.
    """
    if text == ROOT:
        return ROOT
    if not _FORM.fullmatch(text):
        raise ValueError("not a path")
    if text.split("/")[1] in RESERVED:
        raise ValueError("one of the server's own")
    return text.rstrip("/") + "/"


def strip(target: bytes, base: bytes) -> bytes:
    """A request's target without the base path; as it is where a proxy has taken that off before."""
    return target[len(base) - 1 :] if target.startswith(base) else target
