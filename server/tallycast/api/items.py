"""Endpoints of items: their counts, once or live.

Does not depend on the engine.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api import schemas
from tallycast.api.negotiation import matches
from tallycast.contract.errors import BadItem
from tallycast.domain.sites import Site
from tallycast.services.subscriptions import State
from tallycast.transport.http.problems import CLIENT, SLOT
from tallycast.transport.http.query import Query
from tallycast.transport.http.requests import (
    PRIVATE,
    Identities,
    json_answer,
    optional_identity,
    query_and_site,
)
from tallycast.transport.sse.response import EventStreams

PUBLIC = {
    "Cache-Control": "public, max-age=1, stale-while-revalidate=30",
    # The same address has another, private answer to a visitor with a token.
    "Vary": "Authorization",
}


class Counts(Protocol):
    """Reads counts; see ``services.subscriptions.Subscriptions``."""

    async def counts(self, site: Site, items: Sequence[str]) -> list[State]:
        """The state of items, perhaps the last known one."""

    async def states(self, site: Site, items: Sequence[str], visitor: str | None) -> list[State]:
        """The stored state of items, with the reactions of a visitor."""


class Items(Protocol):
    """Checks item ids; see ``access.guard.Guard``."""

    def check_items(self, site: Site, items: Sequence[str]) -> list[str]:
        """The ids, each once."""


class ItemEndpoints:
    """The endpoints ``/v1/items`` and ``/v1/stream``."""

    def __init__(self, counts: Counts, identities: Identities, items: Items, streams: EventStreams) -> None:
        self._counts = counts
        self._identities = identities
        self._items = items
        self._streams = streams

    def routes(self) -> Sequence[Route]:
        """Every path."""
        return (
            Route("/v1/items", self.items, methods=["GET"]),
            Route("/v1/stream", self.stream, methods=["GET"]),
        )

    async def items(self, request: Request) -> Response:
        """Counts of up to 100 items; with a token, the bearer's reactions, too."""
        query, site = query_and_site(request)
        identity = await optional_identity(request, site, self._identities)
        unique = self._unique(site, query)
        if identity is not None:
            found = await self._counts.states(site, unique, identity.visitor)
            states = dict(zip(unique, found, strict=True))
            return json_answer(_items(query, states, with_reaction=True), headers=PRIVATE)
        states = dict(zip(unique, await self._counts.counts(site, unique), strict=True))
        body = msgspec.json.encode(_items(query, states, with_reaction=False))
        etag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
        headers = {"ETag": etag, **PUBLIC}
        if matches(request.headers.getlist("If-None-Match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, 200, headers, "application/json")

    async def stream(self, request: Request) -> Response:
        """Counts of up to 100 items, live, as server-sent events."""
        query, site = query_and_site(request)
        items = self._unique(site, query)
        return await self._streams.open(request.scope[SLOT], request.scope[CLIENT], site, items)

    def _unique(self, site: Site, query: Query) -> list[str]:
        """The items of a query, each once; at least one."""
        if not query.items:
            raise BadItem("at least one item is needed")
        return self._items.check_items(site, query.items)


def _items(query: Query, states: Mapping[str, State], *, with_reaction: bool) -> schemas.Items:
    """The states of the items of a query, in its order."""
    found = ((item, states[item]) for item in query.items)
    return schemas.Items(
        [
            schemas.Item(item, state.version, state.counts, state.reaction if with_reaction else UNSET)
            for item, state in found
        ]
    )
