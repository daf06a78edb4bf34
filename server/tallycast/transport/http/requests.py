"""What endpoints do with every request: whose site it is, who asks, what it carries, and an answer in JSON.

Must not know any endpoint. ``Origins`` has already found the site and let the origin in.
"""

from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallycast.contract.codec import MAX_MESSAGE
from tallycast.contract.errors import BadMessage, MessageTooLarge, Unauthorized
from tallycast.domain.sites import Site
from tallycast.transport.http.query import Query

PRIVATE = {"Cache-Control": "private, no-store", "Vary": "Authorization"}
NO_STORE = {"Cache-Control": "no-store"}


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON document as a response, which is not cached unless ``headers`` say so."""
    return Response(msgspec.json.encode(content), status, headers or NO_STORE, "application/json")


def asked(request: Request) -> tuple[Query, Site]:
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


async def read_body(request: Request) -> bytes:
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
        raise BadMessage("the body did not come") from None
    return bytes(read)
