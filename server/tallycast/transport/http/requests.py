"""The site, the visitor and the body of a request, and an answer in JSON.

Owns what all endpoints do. ``Origins`` has found the site and checked the origin before. Does not depend on
any endpoint.
"""

from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallycast.contract.codec import MAX_MESSAGE
from tallycast.contract.errors import BadMessage, MessageTooLarge, Unauthorized
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.transport.http.query import Query

PRIVATE = {"Cache-Control": "private, no-store", "Vary": "Authorization"}
NO_STORE = {"Cache-Control": "no-store"}

T = TypeVar("T")


class Identities(Protocol):
    """Identifies visitors; see ``services.accounts.Accounts``."""

    async def identity(self, site: Site, token: str) -> Identity:
        """The visitor of a token."""


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON document as a response, which is not cached unless ``headers`` say so."""
    return Response(msgspec.json.encode(content), status, headers or NO_STORE, "application/json")


def query_and_site(request: Request) -> tuple[Query, Site]:
    """The query of a request, and the site in it."""
    query, site = request.scope["tallycast"]
    return query, site


def bearer(request: Request) -> str | None:
    """The bearer token (RFC 6750), or ``None`` when there is no Authorization header.

    Raises:
        Unauthorized: there is one of another kind.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization: Bearer <token> is needed")
    return token.strip()


async def optional_identity(request: Request, site: Site, identities: Identities) -> Identity | None:
    """The visitor of the bearer token; ``None`` without one.

    Raises:
        Forbidden, Unauthorized, Unavailable: as ``Accounts.identify`` explains.
    """
    token = bearer(request)
    return None if token is None else await identities.identity(site, token)


async def required_identity(request: Request, site: Site, identities: Identities) -> Identity:
    """The visitor of the bearer token.

    Raises:
        Unauthorized: there is no token.
        Forbidden, Unauthorized, Unavailable: as ``Accounts.identify`` explains.
    """
    identity = await optional_identity(request, site, identities)
    if identity is None:
        raise Unauthorized("Authorization: Bearer <token> is needed")
    return identity


async def read_json(request: Request, type_: type[T], expected: str) -> T:
    """The request's body, decoded.

    Raises:
        BadMessage: it is not of that type; the message says what is ``expected``.
        MessageTooLarge: it is larger than a message may be.
    """
    try:
        return msgspec.json.decode(await _read_body(request), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage(f"the body is {expected}") from None


async def _read_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        MessageTooLarge: it is larger than a message may be; the rest is not read.
    """
    too_large = MessageTooLarge(f"a body has at most {MAX_MESSAGE} bytes")
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MAX_MESSAGE:
        raise too_large
    read = bytearray()
    try:
        async for chunk in request.stream():
            read += chunk
            if len(read) > MAX_MESSAGE:
                raise too_large
    except ClientDisconnect:
        raise BadMessage("the body is incomplete") from None
    return bytes(read)
