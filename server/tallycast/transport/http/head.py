"""Validation of request heads, where httptools accepts more than RFC 9112 allows.

Owns the checks of the version, of Host, of repeated fields and of the framing of upgrades. Does not depend
on connections, nor on any endpoint.
"""

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

VERSIONS = ("1.1", "1.0")
# Fields with a single value: of two a proxy might use the one and this server the other. Origin is not among
# them because a second one is refused as an origin that is not allowed.
_SINGULAR = frozenset(
    (b"host", b"authorization", b"content-length", b"sec-fetch-mode", b"sec-fetch-site", b"sec-websocket-key")
)
# uri-host [ ":" port ] of RFC 3986; empty where the target has no authority (RFC 9112, section 3.2).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-fv:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
# An absolute-form target (RFC 9112, section 3.2.2), up to its path.
_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class BadHead(Exception):  # noqa: N818  the request is refused; nothing went wrong
    """A request head is refused with an HTTP ``status``; ``str(refusal)`` is the reason."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def check_head(version: str, headers: Headers, *, upgrade: bool) -> None:
    """Validate the head of a request.

    Args:
        version: of HTTP, like ``1.1``.
        headers: names and values; the names in lower case.
        upgrade: whether the request asks for a WebSocket.

    Raises:
        BadHead: unsupported version, HTTP/1.1 without Host, invalid Host, repeated field, upgrade with a
            body, or unsupported transfer coding.
    """
    if version not in VERSIONS:
        raise BadHead(f"unsupported HTTP version {version}; expected 1.1 or 1.0", 505)
    singular = {name: value for name, value in headers if name in _SINGULAR}
    repeated = [name for name, _ in headers if name in _SINGULAR]
    if len(repeated) != len(singular):
        raise BadHead(f"repeated header {_first_repeated(repeated)}; expected at most one")
    host = singular.get(b"host")
    if host is None and version == "1.1":
        raise BadHead("missing Host header; HTTP/1.1 requires one")
    if host is not None and not _HOST.fullmatch(host):
        raise BadHead("invalid Host header; expected a host, optionally with a port")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if upgrade and (codings or singular.get(b"content-length", b"0").strip(b"0")):
        raise BadHead("an upgrade request must not have a body")
    if codings and version == "1.0":
        # RFC 9112, section 6.1: the framing is faulty.
        raise BadHead("Transfer-Encoding is not part of HTTP/1.0; send Content-Length")
    if codings not in ([], [b"chunked"]):
        raise BadHead("unsupported Transfer-Encoding; expected chunked", 501)


def origin_form(target: bytes) -> bytes:
    """The path and query of a request target, of the absolute form too (RFC 9112, section 3.2).

    Raises:
        BadHead: it has a fragment, or user information (RFC 9110, section 4.2.4).
    """
    if b"#" in target:
        raise BadHead("a request target must not have a fragment")
    authority = _AUTHORITY.match(target)
    if authority is None:
        return target
    if b"@" in authority[0]:
        raise BadHead("a request target must not have user information")
    rest = target[authority.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def _first_repeated(names: Sequence[bytes]) -> str:
    name = next(name for index, name in enumerate(names) if name in names[:index])
    return name.decode().title()
