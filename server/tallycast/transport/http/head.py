"""What a request head must be before anything is done about it: RFC 9112, where httptools takes more.

Owns the checks of the version, of Host, of repeated fields and of the framing of upgrades. Does not depend
on connections, nor on any endpoint.
"""

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

VERSIONS = ("1.1", "1.0")
# Fields that have one value: of two a proxy may go by the one and this server by the other. Origin is missing
# here because a second one is refused as an origin that is not allowed.
_SINGULAR = frozenset(
    (b"host", b"authorization", b"content-length", b"sec-fetch-mode", b"sec-fetch-site", b"sec-websocket-key")
)
# uri-host [ ":" port ] of RFC 3986; empty where the target has no authority (RFC 9112, section 3.2).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-fv:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
# An absolute-form target (RFC 9112, section 3.2.2), up to its path.
_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class BadHead(Exception):  # noqa: N818  the request is refused; nothing went wrong
    """The head is refused with a status; ``str(refusal)`` says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def check_head(version: str, headers: Headers, *, upgrade: bool) -> None:
    """Check the head of a request; the names in ``headers`` are in lower case.

    Args:
        version: of HTTP, as httptools gives it.
        upgrade: whether the request is to become a WebSocket.

    Raises:
        BadHead: another version, HTTP/1.1 without Host, an invalid Host, a repeated field, an upgrade with a
            body, or a transfer coding that is not spoken here.
    """
    if version not in VERSIONS:
        raise BadHead("this server speaks HTTP/1.1 and HTTP/1.0", 505)
    singular = {name: value for name, value in headers if name in _SINGULAR}
    repeated = [name for name, _ in headers if name in _SINGULAR]
    if len(repeated) != len(singular):
        raise BadHead(f"{_first_repeated(repeated)} stands in the request more than once")
    host = singular.get(b"host")
    if host is None and version == "1.1":
        raise BadHead("a request of HTTP/1.1 has a Host header")
    if host is not None and not _HOST.fullmatch(host):
        raise BadHead("the Host header is not a host and a port")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if upgrade and (codings or singular.get(b"content-length", b"0").strip(b"0")):
        raise BadHead("an upgrade has no body")
    if codings and version == "1.0":
        raise BadHead("HTTP/1.0 has no Transfer-Encoding")  # RFC 9112, section 6.1: the framing is faulty.
    if codings not in ([], [b"chunked"]):
        raise BadHead("the only Transfer-Encoding that is spoken here is chunked", 501)


def origin_form(target: bytes) -> bytes:
    """The path and query of a request target, which names a server too where it was meant for a proxy.

    Raises:
        BadHead: it has a fragment (RFC 9112, section 3.2), or a user (RFC 9110, section 4.2.4).
    """
    if b"#" in target:
        raise BadHead("a request target has no fragment")
    authority = _AUTHORITY.match(target)
    if authority is None:
        return target
    if b"@" in authority[0]:
        raise BadHead("a request target names no user")
    rest = target[authority.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def _first_repeated(names: Sequence[bytes]) -> str:
    name = next(name for slot, name in enumerate(names) if name in names[:slot])
    return name.decode().title()
