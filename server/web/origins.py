"""Which requests are let in: budgets by address, the Origin check, CORS (WHATWG Fetch); before any endpoint.

A request whose site is unknown or whose Origin is not allowed has no effect, whatever its method, and costs
its address as much as any other. Who asks whether the server is well is always answered.
"""

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.admission import Admission, Place
from server.errors import Forbidden, Refusal
from server.guard import Guard
from server.web.problems import CLIENT, PLACE, refused
from server.web.query import Query

PREFIX = "/v1/"
HEALTH = frozenset(("/livez", "/readyz"))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match",
    "Access-Control-Max-Age": "7200",
}


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
            return
        too_many = self._too_many(scope)
        if not scope["path"].startswith(PREFIX):
            await (self._app if too_many is None else refused(too_many))(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origins = headers.getlist("Origin")
        allowed: dict[str, str] = {}
        app: Any = self._app
        try:
            if len(origins) > 1:
                raise Forbidden("one Origin a request")
            query = Query(scope["query_string"])
            site = self._guard.site(query.site)
            self._guard.origin(site, origins[0] if origins else None)
            if origins:
                allowed["Access-Control-Allow-Origin"] = origins[0]
                allowed["Access-Control-Expose-Headers"] = "ETag, Retry-After"
            if too_many is not None:
                raise too_many
        except Refusal as refusal:
            app = refused(refusal)
        else:
            scope["tallycast"] = (query, site)
            if scope["method"] == "OPTIONS" and "Access-Control-Request-Method" in headers:
                app = Response(status_code=204, headers=_PREFLIGHT)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")
                answer.update(allowed)
            await send(message)

        await app(scope, receive, marked)

    def _too_many(self, scope: Scope) -> Refusal | None:
        """Why nothing more is done for whoever asks, if so."""
        try:
            self._admission.request(scope[CLIENT])
        except Refusal as refusal:
            return refusal
        place: Place = scope[PLACE]
        return None if place.counted else place.refusal
