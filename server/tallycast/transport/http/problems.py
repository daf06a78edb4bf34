"""Errors over HTTP: ``application/problem+json`` (RFC 9457) with the contract's ``code``, never cached.

Owns the problem document, and Starlette's handlers of errors. Does not depend on any endpoint.
"""

import math
from http import HTTPStatus

import msgspec
import structlog
from msgspec import UNSET, Struct, UnsetType
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from websockets.http11 import Response as Upgrade

from tallycast.contract.errors import RateLimited, Refusal, Unauthorized, Unavailable
from tallycast.domain.printable import printable

MEDIA_TYPE = "application/problem+json"
# The key of the client in the scope of an endpoint: a ``domain.addresses.Client``.
CLIENT = "tallycast.client"
# And of the slot of its connection: an ``admission.ConnectionSlot``.
SLOT = "tallycast.slot"
_OWN_CODES = {404: "not_found", 405: "method_not_allowed", 503: "unavailable"}

_log = structlog.get_logger("transport")


class Problem(Struct, frozen=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    item: str | UnsetType = UNSET


def problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, item: str | None = None
) -> Response:
    """A problem document as a response."""
    return Response(
        _document(status, code, detail, item),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        MEDIA_TYPE,
    )


def _document(status: int, code: str, detail: str, item: str | None = None) -> bytes:
    found = Problem(
        "about:blank", HTTPStatus(status).phrase, status, code, detail, UNSET if item is None else item
    )
    # Problems are read by people, too: control characters are escaped as in JSON.
    return printable(msgspec.json.encode(found).decode()).encode()


def _own_code(status: int) -> str:
    """The contract's code for an error of Starlette or websockets, which has only an HTTP status."""
    return _OWN_CODES.get(status, "bad_message" if status < 500 else "internal")


def refused(refusal: Refusal) -> Response:
    """The response to a refused request."""
    headers = {}
    if isinstance(refusal, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, RateLimited | Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after or 1.0)))
    return problem(refusal.status, refusal.code, str(refusal), headers, refusal.item)


def as_problem(response: Upgrade) -> None:
    """Turn the response to a refused upgrade, whose body is the reason, into a problem document."""
    status = response.status_code
    response.body = _document(status, _own_code(status), (response.body or b"").decode().strip())
    for name in ("Content-Type", "Content-Length"):
        del response.headers[name]
    response.headers.update(
        {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            # For clients of another version (RFC 6455, section 4.2.2).
            "Sec-WebSocket-Version": "13",
        }
    )


async def on_refusal(_request: Request, error: Exception) -> Response:
    """Starlette's handler for a refusal."""
    assert isinstance(error, Refusal)
    return refused(error)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Starlette's handler for its own errors: unknown path, unsupported method."""
    assert isinstance(error, HTTPException)
    return problem(error.status_code, _own_code(error.status_code), error.detail, dict(error.headers or {}))


async def on_defect(request: Request, error: Exception) -> Response:
    """Starlette's handler for unexpected exceptions."""
    client = request.scope.get(CLIENT)
    address = client.address if client is not None else ""
    # Without the query, which may contain anything.
    _log.error("request failed", path=request.scope["path"], client=address, exc_info=error)
    return problem(500, "internal", "internal error; the details are in the server's log")
