"""The HTTP application: every route, and the answers to errors.

Owns which endpoint is given which services. Does not depend on the engine.
"""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.api import pages
from tallycast.api.admin import AdminEndpoints
from tallycast.api.cors import Origins
from tallycast.api.health import HealthEndpoints
from tallycast.api.items import ItemEndpoints
from tallycast.api.reactions import ReactionEndpoints
from tallycast.api.visitors import VisitorEndpoints
from tallycast.contract.errors import Refusal
from tallycast.services.build import Services
from tallycast.transport.http.problems import on_defect, on_http_exception, on_refusal, problem
from tallycast.transport.sse.response import EventStreams
from tallycast.transport.websocket.handshake import PATH


async def _no_upgrade(_request: Request) -> Response:
    """Refuse a request to the WebSocket's path that is no upgrade."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade, close"}
    return problem(426, "bad_message", "this path accepts WebSocket upgrades only", headers)


def api_routes(
    services: Services,
    guard: Guard,
    admission: Admission,
    streams: EventStreams,
    ready: Callable[[], bool],
    base_path: str,
) -> list[Route]:
    """The paths of the API. ``ready``: whether reactions can be stored, and updates arrive."""
    reactions, subscriptions, accounts, moderation = services
    return [
        *VisitorEndpoints(accounts, admission).routes(),
        *ItemEndpoints(subscriptions, accounts, guard, streams).routes(),
        *ReactionEndpoints(reactions, accounts).routes(),
        *HealthEndpoints(ready, base_path).routes(),
        *AdminEndpoints(moderation, guard, admission).routes(),
    ]


def build(
    services: Services,
    guard: Guard,
    admission: Admission,
    streams: EventStreams,
    ready: Callable[[], bool],
    *,
    demo: bool,
    base_path: str,
) -> Starlette:
    """The HTTP side: API and pages; ``demo``: the demo pages, too."""
    app = Starlette(
        routes=[
            *api_routes(services, guard, admission, streams, ready, base_path),
            *pages.routes(demo=demo, base_path=base_path),
            Route(PATH, _no_upgrade, methods=["GET"]),
        ],
        middleware=[Middleware(Origins, guard=guard, admission=admission)],
        exception_handlers={
            Refusal: on_refusal,
            HTTPException: on_http_exception,
            Exception: on_defect,
        },
    )
    # A redirect would lead to the host in the Host header.
    app.router.redirect_slashes = False
    return app
