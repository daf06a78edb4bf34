"""Pages and scripts for browsers: the demo, the embed script, their assets."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

# In a checkout the folder stands beside the package, in an installed wheel inside it.
_PACKAGED = Path(__file__).parents[1] / "_static"
STATIC = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "static"

_PAGE = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def _demo(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers=_PAGE)


async def _embed(_request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
    return FileResponse(STATIC / "embed.js", media_type="text/javascript", headers=headers)


def routes() -> list[BaseRoute]:
    """The paths of the pages."""
    return [
        Route("/", _demo, methods=["GET"]),
        Route("/embed.js", _embed, methods=["GET"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
