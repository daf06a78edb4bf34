"""Admission of requests: rate limits by address, the Origin check, CORS (WHATWG Fetch), fetch metadata.

A request with an unknown site or an Origin that is not allowed has no effect, whatever its method, and has a
rate limit of its own: pages that are not listed must not exhaust that of the listed pages of their address.
Health checks are always answered, and the script is not limited: a refusal would be as much work, and any
page may load it. Does not depend on any endpoint.
"""

import re
from typing import NamedTuple, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.errors import Forbidden, Refusal
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.transport.http.problems import CLIENT, SLOT, refused
from tallycast.transport.http.query import Query, Sites

PREFIX = "/v1/"
HEALTH = frozenset(("/livez", "/readyz"))
_SCRIPT = re.compile(r"/embed(\.[0-9a-f]+)?\.js")
# Values of Sec-Fetch-Site of requests that no page of another site caused.
_NOT_CROSS_SITE = frozenset(("same-origin", "none"))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match",
    "Access-Control-Max-Age": "7200",
}


class _Admitted(NamedTuple):
    query: Query
    site: Site
    origin: str | None


class RequestAdmission(Protocol):
    """Admits requests, or raises ``RateLimited``; see ``access.admission.Admission``."""

    def request(self, client: Client) -> None:
        """Admit a request."""

    def page_request(self, client: Client) -> None:
        """Admit a request for a page."""

    def refused_request(self, client: Client) -> None:
        """Count a request that is refused for its site or origin."""


class Origins:
    """ASGI middleware.

    Puts the request's ``Query`` and ``Site`` into ``scope["tallycast"]`` for the endpoints.
    """

    def __init__(self, app: ASGIApp, guard: Sites, admission: RequestAdmission) -> None:
        self._app = app
        self._guard = guard
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in HEALTH:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await self._api(scope, receive, send)
        else:
            await self._page(scope)(scope, receive, send)

    def _page(self, scope: Scope) -> ASGIApp:
        """The application for a request of a page or a script: the endpoints, or a refusal."""
        try:
            if not _SCRIPT.fullmatch(scope["path"]):
                self._admission.page_request(scope[CLIENT])
            _check_slot(scope)
        except Refusal as refusal:
            return refused(refusal)
        return self._app

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        allowed: dict[str, str] = {}
        try:
            admitted = self._admit(scope, headers)
        except Refusal as refusal:
            app: ASGIApp = self._refuse(scope, refusal)
        else:
            if admitted.origin is not None:
                allowed["Access-Control-Allow-Origin"] = admitted.origin
                allowed["Access-Control-Expose-Headers"] = "ETag, Retry-After"
            app = self._admitted(scope, headers, admitted)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")
                answer.update(allowed)
            await send(message)

        await app(scope, receive, send_with_cors)

    def _admit(self, scope: Scope, headers: Headers) -> _Admitted:
        """The query, the site and the Origin of a request.

        Raises:
            BadItem, UnknownSite: the query is invalid, or there is no site of that name.
            Forbidden: the Origin is not one of the site's, or is missing from a cross-origin request.
        """
        query = Query(scope["query_string"])
        site = self._guard.site(query.site)
        origins = headers.getlist("Origin")
        if len(origins) > 1:
            raise Forbidden("repeated header Origin; expected at most one")
        if origins:
            self._guard.check_origin(site, origins[0])
            return _Admitted(query, site, origins[0])
        _check_fetch_metadata(headers)
        return _Admitted(query, site, None)

    def _admitted(self, scope: Scope, headers: Headers, admitted: _Admitted) -> ASGIApp:
        """The application for a request with an allowed Origin, or with none: the endpoints, or a refusal."""
        try:
            self._admission.request(scope[CLIENT])
            _check_slot(scope)
        except Refusal as refusal:
            return refused(refusal)
        scope["tallycast"] = (admitted.query, admitted.site)
        if scope["method"] == "OPTIONS" and "Access-Control-Request-Method" in headers:
            return Response(status_code=204, headers=_PREFLIGHT)
        return self._app

    def _refuse(self, scope: Scope, refusal: Refusal) -> Response:
        """The response to a request that is refused for its site or Origin.

        It closes the connection, which would count for the address until the idle timeout. A trusted proxy's
        counts for no address, and stays.
        """
        try:
            self._admission.refused_request(scope[CLIENT])
        except Refusal as limited:
            refusal = limited
        answer = refused(refusal)
        slot: ConnectionSlot = scope[SLOT]
        if slot.owner is not None:
            answer.headers["Connection"] = "close"
        return answer


def _check_slot(scope: Scope) -> None:
    """Raise the refusal of the connection itself, if it exceeds the connection limits."""
    slot: ConnectionSlot = scope[SLOT]
    if not slot.counted and slot.refusal is not None:
        raise slot.refusal


def _check_fetch_metadata(headers: Headers) -> None:
    """Check a request without an Origin (W3C Fetch Metadata). Only browsers send these headers.

    They omit the Origin from same-origin requests, and from those whose response the page cannot read: of an
    ``<img>``, a frame, a form with GET, ``fetch`` with ``no-cors``. These would take effect all the same.

    Raises:
        Forbidden: a page of another origin caused the request.
    """
    no_cors = headers.get("Sec-Fetch-Mode") == "no-cors"
    if no_cors or headers.get("Sec-Fetch-Site", "none") not in _NOT_CROSS_SITE:
        raise Forbidden("missing Origin of a cross-origin request; use fetch in cors mode, or an EventSource")
