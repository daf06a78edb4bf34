"""The admin API: what may be done to a site's items and visitors with an admin key.

Owns its endpoints. A site without admin keys has none of them. Must not know the engine.
"""

from collections.abc import Sequence

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.contract.errors import BadMessage, Unauthorized
from tallycast.contract.items import check_item
from tallycast.domain.sites import Site
from tallycast.domain.visitors import check_visitor
from tallycast.services.moderation import ITEM_DEEDS
from tallycast.services.services import Rooms
from tallycast.transport.http.problems import CLIENT
from tallycast.transport.http.requests import asked, bearer, json_answer, read_body


class Whom(msgspec.Struct, frozen=True):
    """The body of a request about a visitor: no URL has a visitor's id in it."""

    visitor: str


class Admin:
    """The endpoints, with the rooms they work in."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def routes(self) -> Sequence[Route]:
        """Every path of the admin API."""
        to_item = (Route(f"/v1/admin/{what}", self.to_item, methods=["POST"]) for what in ITEM_DEEDS)
        return (*to_item, Route("/v1/admin/erase", self.erase, methods=["POST"]))

    async def to_item(self, request: Request) -> Response:
        """Do what the path says to an item."""
        query, site = asked(request)
        who = self._who(request, site)
        # Not the site's own rule: an item that has become none by it can be removed all the same.
        item = check_item(query.item)
        what = request.scope["path"].rpartition("/")[2]
        state = await self._rooms.admin_actions.to_item(who, what, site, item)
        return json_answer(
            {"item": item, "version": state.version, "counts": state.counts, "frozen": state.frozen}
        )

    async def erase(self, request: Request) -> Response:
        """Take back all that a visitor holds."""
        _, site = asked(request)
        who = self._who(request, site)
        try:
            visitor = msgspec.json.decode(await read_body(request), type=Whom).visitor
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadMessage('the body is {"visitor": "u:…"}') from None
        return json_answer(
            {"erased": await self._rooms.admin_actions.erase(who, site, check_visitor(visitor))}
        )

    def _who(self, request: Request, site: Site) -> str:
        """Whose admin key came with the request."""
        if not site.admin_keys:
            raise HTTPException(404)
        key = bearer(request)
        if key is None:
            raise Unauthorized("Authorization: Bearer <admin key> is needed")
        try:
            return self._rooms.guard.administrator(site, key)
        except Unauthorized:
            self._rooms.admission.wrong_admin_key(request.scope[CLIENT])
            raise
