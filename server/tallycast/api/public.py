"""The HTTP API of the contract.

Owns what each endpoint does. Must not know the engine.
"""

from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.access.guard import Guard
from tallycast.api.etags import matches
from tallycast.api.ndjson import NdjsonResponse
from tallycast.api.openapi import document
from tallycast.contract.errors import BadItem, BadMessage, Refusal, Unauthorized
from tallycast.domain.base_path import ROOT
from tallycast.domain.limits import ALL_REACTIONS_COST
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.ledger.reader import State
from tallycast.services.services import Rooms
from tallycast.signals.choice import check_reaction
from tallycast.transport.http.problems import CLIENT, PLACE
from tallycast.transport.http.query import Query
from tallycast.transport.http.requests import NO_STORE, PRIVATE, asked, bearer, json_answer, read_body
from tallycast.transport.sse import Stream, StreamResponse

PUBLIC = {
    "Cache-Control": "public, max-age=1, stale-while-revalidate=30",
    # The same address answers otherwise, and privately, to a visitor with a token.
    "Vary": "Authorization",
}

_Page = list[tuple[str, State]]


class Wanted(msgspec.Struct, frozen=True):
    """The body of a PUT: the reaction wished for, ``null`` for none."""

    reaction: Any


class Api:
    """The endpoints, with the rooms they work in, below ``base_path``."""

    def __init__(self, rooms: Rooms, base_path: str = ROOT) -> None:
        self._rooms = rooms
        self._base_path = base_path

    def routes(self) -> Sequence[Route]:
        """Every path of the API."""
        return (
            Route("/v1/visitors", self.visitors, methods=["POST"]),
            Route("/v1/items", self.items, methods=["GET"]),
            Route("/v1/reaction", self.reaction, methods=["PUT", "DELETE"]),
            Route("/v1/me", self.me, methods=["GET", "DELETE"]),
            Route("/v1/stream", self.stream, methods=["GET"]),
            Route("/livez", self.livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        )

    @property
    def _guard(self) -> Guard:
        return self._rooms.guard

    async def visitors(self, request: Request) -> Response:
        """A new anonymous visitor, or the bearer's token renewed."""
        _, site = asked(request)
        token = bearer(request)
        if token is None:
            self._rooms.admission.new_visitor(request.scope[CLIENT])
            visitor, fresh, expires = self._guard.new_visitor(site)
        else:
            visitor, fresh, expires = self._guard.renew(site, token)
            # Who has become an account meanwhile is not renewed: reading for such a visitor is refused.
            await self._rooms.states(site, (), visitor)
        return json_answer({"visitor": visitor, "token": fresh, "expires": expires}, 201)

    async def items(self, request: Request) -> Response:
        """Counts of up to 100 items; with a token, what the bearer holds too."""
        query, site = asked(request)
        identity = await self._identity(request, site)
        unique = self._listed(site, query)
        if identity is None:
            found = await self._rooms.counts(site, unique)
        else:
            found = await self._rooms.states(site, unique, identity.visitor)
        states = dict(zip(unique, found, strict=True))
        if identity is not None:
            listed = [
                _shown(item, states[item]) | {"reaction": states[item].reaction} for item in query.items
            ]
            return json_answer({"items": listed}, headers=PRIVATE)
        body = msgspec.json.encode({"items": [_shown(item, states[item]) for item in query.items]})
        etag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
        headers = {"ETag": etag, **PUBLIC}
        if matches(request.headers.getlist("If-None-Match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, 200, headers, "application/json")

    async def reaction(self, request: Request) -> Response:
        """Set (PUT) or clear (DELETE) the bearer's reaction on an item."""
        try:
            answer = await self._react(request)
        except Refusal as refusal:
            self._rooms.stats.reacted(refusal)
            raise
        self._rooms.stats.reacted(answer)
        return answer

    async def _react(self, request: Request) -> Response:
        query, site = asked(request)
        identity = await self._known(request, site)
        item = site.check_item(query.item)
        wanted = None if request.method == "DELETE" else await _wanted(request)
        reaction = check_reaction(wanted, site.kinds)
        if reaction is None:
            # Taking back what is not held changes nothing, and so does not find out who is retired.
            await self._rooms.states(site, (), identity.visitor)
        receipt = await self._rooms.react(site, item, identity.visitor, reaction)
        return json_answer(
            {"item": item, "reaction": reaction, "version": receipt.version, "counts": receipt.counts}
        )

    async def me(self, request: Request) -> Response:
        """All that the bearer holds, to be read (GET) or taken back (DELETE)."""
        _, site = asked(request)
        visitor = (await self._known(request, site)).visitor
        self._rooms.allow(site, visitor, ALL_REACTIONS_COST)
        if request.method == "DELETE":
            return json_answer({"erased": await self._rooms.visitor_reactions.erase(site, visitor)})
        pages = self._rooms.visitor_reactions.pages(site, visitor)
        # The first page is read before anything is answered: until then it can still be refused.
        first: _Page = await anext(pages, [])
        return NdjsonResponse(_written(first, pages), PRIVATE)

    async def stream(self, request: Request) -> Response:
        """Counts of up to 100 items, live, as server-sent events."""
        query, site = asked(request)
        items = self._listed(site, query)
        stream = Stream(self._rooms, request.scope[PLACE], request.scope[CLIENT])
        await stream.open(site, items)
        return StreamResponse(self._rooms, stream)

    async def livez(self, _request: Request) -> Response:
        """The process answers."""
        return json_answer({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Reactions can be taken and followed."""
        if self._rooms.serving():
            return json_answer({"status": "ok"})
        return json_answer({"status": "unavailable"}, 503, {**NO_STORE, "Retry-After": "2"})

    async def openapi(self, _request: Request) -> Response:
        """This API as an OpenAPI document."""
        return json_answer(document(self._base_path), headers={"Cache-Control": "public, max-age=300"})

    def _listed(self, site: Site, query: Query) -> list[str]:
        """The items asked for, each once; at least one."""
        if not query.items:
            raise BadItem("at least one item is needed")
        return self._guard.check_items(site, query.items)

    async def _identity(self, request: Request, site: Site) -> Identity | None:
        token = bearer(request)
        return None if token is None else await self._rooms.identify(site, token)

    async def _known(self, request: Request, site: Site) -> Identity:
        identity = await self._identity(request, site)
        if identity is None:
            raise Unauthorized("Authorization: Bearer <token> is needed")
        return identity


def _shown(item: str, state: State) -> dict[str, Any]:
    return {"item": item, "version": state.version, "counts": state.counts}


async def _written(first: _Page, rest: AsyncIterator[_Page]) -> AsyncIterator[bytes]:
    """Pages of what a visitor holds, each as lines of JSON."""
    yield _lines(first)
    async for page in rest:
        yield _lines(page)


def _lines(page: _Page) -> bytes:
    held = ({"item": item, "version": state.version, "reaction": state.reaction} for item, state in page)
    return b"".join(msgspec.json.encode(one) + b"\n" for one in held)


async def _wanted(request: Request) -> Any:
    """The reaction that a PUT's body asks for, not yet checked.

    Raises:
        BadMessage: the body is something else.
    """
    try:
        return msgspec.json.decode(await read_body(request), type=Wanted).reaction
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage('the body is {"reaction": …}') from None
