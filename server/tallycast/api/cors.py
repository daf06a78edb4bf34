"""Which requests are let in: budgets by address, the Origin check, CORS (WHATWG Fetch), fetch metadata.

A request whose site is unknown or whose Origin is not allowed has no effect, whatever its method, and spends
a budget of its own: a page that is not listed must not use up what the listed pages of its address have.
Health checks are always answered, and the script costs no budget: to refuse it is as much work as to send it,
and any page on the web may load it. Does not depend on any endpoint.
"""

import re
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallycast.access.admission import Admission, ConnectionSlot
from tallycast.access.guard import Guard
from tallycast.contract.errors import Forbidden, Refusal
from tallycast.domain.sites import Site
from tallycast.transport.http.problems import CLIENT, SLOT, refused
from tallycast.transport.http.query import Query

PREFIX = "/v1/"
HEALTH = frozenset(("/livez", "/readyz"))
_SCRIPT = re.compile(r"/embed(\.[0-9a-f]+)?\.js")
# Values of Sec-Fetch-Site of a request that no other site's page caused: typed in, or by a page from here.
_OWN = frozenset(("same-origin", "none"))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match",
    "Access-Control-Max-Age": "7200",
}


class _Admitted(NamedTuple):
    query: Query
    site: Site
    origin: str | None


class Origins:
    """ASGI middleware.

    Puts the request's ``Query`` and ``Site`` into ``scope["tallycast"]`` for the endpoints.
    """

    def __init__(self, app: ASGIApp, guard: Guard, admission: Admission) -> None:
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
        """What answers a request for a page or a script."""
        try:
            if not _SCRIPT.fullmatch(scope["path"]):
                self._admission.page_request(scope[CLIENT])
            _check_place(scope)
        except Refusal as refusal:
            return refused(refusal)
        return self._app

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        allowed: dict[str, str] = {}
        try:
            admitted = self._admit(scope, headers)
        except Refusal as refusal:
            app: ASGIApp = self._turned_away(scope, refusal)
        else:
            if admitted.origin is not None:
                allowed["Access-Control-Allow-Origin"] = admitted.origin
                allowed["Access-Control-Expose-Headers"] = "ETag, Retry-After"
            app = self._admitted(scope, headers, admitted)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")
                answer.update(allowed)
            await send(message)

        await app(scope, receive, marked)

    def _admit(self, scope: Scope, headers: Headers) -> _Admitted:
        """The query, the site and the Origin of a request.

        Raises:
            BadItem, UnknownSite: the query is not one, or no site is served under that name.
            Forbidden: the origin is not one of the site's, or is not said where it must be.
        """
        query = Query(scope["query_string"])
        site = self._guard.site(query.site)
        origins = headers.getlist("Origin")
        if len(origins) > 1:
            raise Forbidden("one Origin a request")
        if origins:
            self._guard.check_origin(site, origins[0])
            return _Admitted(query, site, origins[0])
        _check_fetch_metadata(headers)
        return _Admitted(query, site, None)

    def _admitted(self, scope: Scope, headers: Headers, admitted: _Admitted) -> ASGIApp:
        """What answers a request of a page that is listed, or of no page."""
        try:
            self._admission.request(scope[CLIENT])
            _check_place(scope)
        except Refusal as refusal:
            return refused(refusal)
        scope["tallycast"] = (admitted.query, admitted.site)
        if scope["method"] == "OPTIONS" and "Access-Control-Request-Method" in headers:
            return Response(status_code=204, headers=_PREFLIGHT)
        return self._app

    def _turned_away(self, scope: Scope, refusal: Refusal) -> Response:
        """The answer to a request that is refused for its site or origin.

        It ends the connection, which else would count for the address until it is idle for long enough. A
        trusted proxy's counts for no address.
        """
        try:
            self._admission.refused_request(scope[CLIENT])
        except Refusal as too_many:
            refusal = too_many
        answer = refused(refusal)
        slot: ConnectionSlot = scope[SLOT]
        if slot.owner is not None:
            answer.headers["Connection"] = "close"
        return answer


def _check_place(scope: Scope) -> None:
    """Raises ``Unavailable`` or ``RateLimited`` where there is no room even for the connection."""
    slot: ConnectionSlot = scope[SLOT]
    if not slot.counted and slot.refusal is not None:
        raise slot.refusal


def _check_fetch_metadata(headers: Headers) -> None:
    """Check a request without an Origin (W3C Fetch Metadata). Only browsers send these headers.

    They leave the Origin out where the page is from here, and where the page shall not read the answer: an
    ``<img>``, a frame, a form with GET, ``fetch`` with ``no-cors``. The answer would be made all the same.

    Raises:
        Forbidden: a page of another origin caused it.
    """
    no_cors = headers.get("Sec-Fetch-Mode") == "no-cors"
    if no_cors or headers.get("Sec-Fetch-Site", "none") not in _OWN:
        raise Forbidden("a page asks with its Origin: with fetch in the mode cors, or an EventSource")
