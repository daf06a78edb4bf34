"""Which pages may use the API: the Origin check and CORS (WHATWG Fetch), before any endpoint runs.

A request whose site is unknown or whose Origin is not allowed has no effect, whatever its method.
"""

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.admission import Admission
from server.errors import Forbidden, Refusal
from server.guard import Guard
from server.web.problems import CLIENT, refused
from server.web.query import Query

PREFIX = "/v1/"
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
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
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
            self._admission.request(scope[CLIENT])
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
