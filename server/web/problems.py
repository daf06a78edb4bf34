"""Errors over HTTP: ``application/problem+json`` (RFC 9457) with the contract's ``code``, never cached."""

import math
from http import HTTPStatus

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.errors import RateLimited, Refusal, Unauthorized, Unavailable

MEDIA_TYPE = "application/problem+json"
# Where an endpoint finds who the request came from in its scope: a ``rules.addresses.Client``.
CLIENT = "tallycast.client"
# And what became of its connection: an ``admission.Place``.
PLACE = "tallycast.place"
_OWN_CODES = {404: "not_found", 405: "method_not_allowed"}

_log = structlog.get_logger("web")


def problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, item: str | None = None
) -> Response:
    """A problem document as a response."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code}
    body["detail"] = detail
    if item is not None:
        body["item"] = item
    return Response(
        msgspec.json.encode(body),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        MEDIA_TYPE,
    )


def refused(refusal: Refusal) -> Response:
    """The answer to a request that was refused."""
    headers = {}
    if isinstance(refusal, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, RateLimited | Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after or 1.0)))
    return problem(refusal.status, refusal.code, str(refusal), headers, refusal.item)


async def on_refusal(_request: Request, error: Exception) -> Response:
    """Starlette's handler for a refusal."""
    assert isinstance(error, Refusal)
    return refused(error)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Starlette's handler for its own errors: no such path, no such method."""
    assert isinstance(error, HTTPException)
    code = _OWN_CODES.get(error.status_code, "bad_message" if error.status_code < 500 else "internal")
    return problem(error.status_code, code, error.detail, dict(error.headers or {}))


async def on_defect(request: Request, error: Exception) -> Response:
    """Starlette's handler for everything else: a defect of ours."""
    client = request.scope.get(CLIENT)
    address = client.address if client is not None else ""
    # The path alone: clients put into a query what they like.
    _log.error("request failed", path=request.scope["path"], client=address, exc_info=error)
    return problem(500, "internal", "the server made a mistake; it is in its log")
