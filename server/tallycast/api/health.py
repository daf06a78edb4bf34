"""Endpoints for operators and developers: health checks, and the API's description.

Does not depend on why a worker is not ready.
"""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api.openapi import document
from tallycast.api.schemas import Health
from tallycast.transport.http.requests import NO_STORE, json_answer


class HealthEndpoints:
    """The endpoints ``/livez``, ``/readyz`` and ``/openapi.json``.

    Args:
        ready: whether reactions can be stored, and updates arrive.
        base_path: the prefix of all paths.
    """

    def __init__(self, ready: Callable[[], bool], base_path: str) -> None:
        self._ready = ready
        self._base_path = base_path

    def routes(self) -> Sequence[Route]:
        """Every path."""
        return (
            Route("/livez", self.livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        )

    async def livez(self, _request: Request) -> Response:
        """The process answers."""
        return json_answer(Health("ok"))

    async def readyz(self, _request: Request) -> Response:
        """Reactions can be stored, and updates arrive."""
        if self._ready():
            return json_answer(Health("ok"))
        return json_answer(Health("unavailable"), 503, {**NO_STORE, "Retry-After": "2"})

    async def openapi(self, _request: Request) -> Response:
        """This API as an OpenAPI document."""
        return json_answer(document(self._base_path), headers={"Cache-Control": "public, max-age=300"})
