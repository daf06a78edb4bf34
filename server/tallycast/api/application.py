"""The HTTP application: every route, and what becomes of errors."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api import pages
from tallycast.api.admin import Admin
from tallycast.api.cors import Origins
from tallycast.api.public import Api
from tallycast.contract.errors import Refusal
from tallycast.services.services import Rooms
from tallycast.transport.http.problems import on_defect, on_http_exception, on_refusal, problem
from tallycast.transport.websocket.handshake import PATH


async def _no_upgrade(_request: Request) -> Response:
    """Where sockets are opened, a request came that wants none."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade, close"}
    return problem(426, "bad_message", "this is for WebSockets: ask for an upgrade", headers)


def application(rooms: Rooms, *, demo: bool, base_path: str) -> Starlette:
    """The HTTP side: API and pages; ``demo``: the demo pages too."""
    app = Starlette(
        routes=[
            *Api(rooms, base_path).routes(),
            *Admin(rooms).routes(),
            *pages.routes(demo=demo, base_path=base_path),
            Route(PATH, _no_upgrade, methods=["GET"]),
        ],
        middleware=[Middleware(Origins, guard=rooms.guard, admission=rooms.admission)],
        exception_handlers={
            Refusal: on_refusal,
            HTTPException: on_http_exception,
            Exception: on_defect,
        },
    )
    # A redirect would lead to wherever the Host header says.
    app.router.redirect_slashes = False
    return app
