"""Endpoints of static files: the embed script, which any origin may load, and the demo pages.

Owns their paths and their headers for caches and other origins. Does not depend on the content of a page.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from tallycast.api.embed import IDENTITY, STATIC, Script, installed
from tallycast.api.negotiation import choose, matches
from tallycast.domain.base_path import ROOT

FOLDER = STATIC / "pages"
DEMO = {"/": "index.html", "/demo/wall": "wall.html", "/live": "live.html"}

# After five minutes a page loads the cached script once more, and gets a new version the next time.
FRESH = "public, max-age=300, stale-while-revalidate=86400"
FOREVER = "public, max-age=31536000, immutable"
_SCRIPT = {
    "Access-Control-Allow-Origin": "*",
    # Cross-origin isolated pages (COEP) load no other responses from other origins.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_PAGE = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes(*, demo: bool, base_path: str) -> list[BaseRoute]:
    """The routes below ``base_path``; with those of the demo pages if ``demo``."""
    script = _Embed(installed())
    paths: list[BaseRoute] = [
        Route("/embed.js", script.latest, methods=["GET"]),
        Route("/embed.{digest}.js", script.pinned, methods=["GET"]),
    ]
    if demo:
        files = _Files(directory=FOLDER)
        paths += [Route(path, files.page(name), methods=["GET"]) for path, name in DEMO.items()]
        paths.append(Mount("/static", _Assets(directory=FOLDER)))
        if base_path != ROOT:
            paths.append(Route(base_path.rstrip("/"), _slash(base_path), methods=["GET"]))
    return paths


def _slash(base_path: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that redirects from the base path without its final slash, where relative links break."""

    async def redirect(request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        # Without scheme and host: a proxy has its own, and the Host header is not trusted.
        return Response(status_code=308, headers={"Location": f"{base_path}?{query}" if query else base_path})

    return redirect


class _Embed:
    """The endpoints of the embed script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._codings = tuple(script.encoded)

    async def latest(self, request: Request) -> Response:
        """The current version, under a constant name."""
        return self._answer(request, FRESH)

    async def pinned(self, request: Request) -> Response:
        """This version, under its immutable name."""
        if request.path_params["digest"] != self._script.digest:
            raise HTTPException(404, "unknown version of the script; embed.js is the current one")
        return self._answer(request, FOREVER)

    def _answer(self, request: Request, caching: str) -> Response:
        coding = choose(request.headers.getlist("Accept-Encoding"), self._codings)
        etag = self._script.etag(coding)
        headers = {**_SCRIPT, "Cache-Control": caching, "ETag": etag}
        if matches(request.headers.getlist("If-None-Match"), etag):
            return Response(status_code=304, headers=headers)
        if coding != IDENTITY:
            headers["Content-Encoding"] = coding
        return Response(self._script.encoded[coding], 200, headers, "text/javascript")


class _Files(StaticFiles):
    """The demo pages and their assets, revalidated by browsers on every use."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """Starlette's response, with the headers of a page."""
        response = super().file_response(*arguments, **named)
        response.headers.update(_PAGE)
        return response

    def page(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for one file of the folder."""

        async def page(request: Request) -> Response:
            return await self.get_response(name, request.scope)

        return page


class _Assets(_Files):
    """The assets of the demo pages."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Starlette's lookup, without the pages: their relative links work at their own paths only."""
        return ("", None) if path.endswith(".html") else super().lookup_path(path)
