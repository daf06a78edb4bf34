"""Endpoints of visitors: new tokens, and the export and erasure of a visitor's own data.

Does not depend on the engine.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api.schemas import Erased, HeldReaction, Visitor
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.services.accounts import Page
from tallycast.transport.http.ndjson import NdjsonResponse
from tallycast.transport.http.problems import CLIENT
from tallycast.transport.http.requests import (
    PRIVATE,
    Identities,
    bearer,
    json_answer,
    query_and_site,
    required_identity,
)

_ENCODER = msgspec.json.Encoder()


class Accounts(Identities, Protocol):
    """Makes visitors, and knows their data; see ``services.accounts.Accounts``."""

    def create(self, site: Site) -> tuple[str, str, int]:
        """A new anonymous visitor: id, token, and when the token expires (s since 1970)."""

    async def renew(self, site: Site, token: str) -> tuple[str, str, int]:
        """The anonymous visitor of a token, with a new token."""

    def export(self, site: Site, visitor: str) -> AsyncIterator[Page]:
        """All reactions of a visitor, in pages."""

    async def erase(self, site: Site, visitor: str) -> int:
        """Clear every reaction of a visitor. Returns their number."""


class VisitorAdmission(Protocol):
    """Admits new visitors; see ``access.admission.Admission``."""

    def new_visitor(self, client: Client) -> None:
        """Admit a new visitor, or raise ``RateLimited``."""


class VisitorEndpoints:
    """The endpoints below ``/v1/visitors`` and ``/v1/me``."""

    def __init__(self, accounts: Accounts, admission: VisitorAdmission) -> None:
        self._accounts = accounts
        self._admission = admission

    def routes(self) -> Sequence[Route]:
        """Every path."""
        return (
            Route("/v1/visitors", self.visitors, methods=["POST"]),
            Route("/v1/me", self.me, methods=["GET", "DELETE"]),
        )

    async def visitors(self, request: Request) -> Response:
        """A new anonymous visitor, or the bearer's token renewed."""
        _, site = query_and_site(request)
        token = bearer(request)
        if token is None:
            self._admission.new_visitor(request.scope[CLIENT])
            visitor, fresh, expires = self._accounts.create(site)
        else:
            visitor, fresh, expires = await self._accounts.renew(site, token)
        return json_answer(Visitor(visitor, fresh, expires), 201)

    async def me(self, request: Request) -> Response:
        """All reactions of the bearer, exported (GET) or erased (DELETE)."""
        _, site = query_and_site(request)
        visitor = (await required_identity(request, site, self._accounts)).visitor
        if request.method == "DELETE":
            return json_answer(Erased(await self._accounts.erase(site, visitor)))
        pages = self._accounts.export(site, visitor)
        # The first page is read before the answer begins: until then the request can be refused.
        first: Page = await anext(pages, [])
        return NdjsonResponse(_written(first, pages), PRIVATE)


async def _written(first: Page, rest: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    """Each page as lines of JSON."""
    yield _lines(first)
    async for page in rest:
        yield _lines(page)


def _lines(page: Page) -> bytes:
    return _ENCODER.encode_lines([HeldReaction(item, state.version, state.reaction) for item, state in page])
