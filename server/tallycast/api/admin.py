"""The admin API: moderation of a site's items and visitors with an admin key.

Owns its endpoints. A site without admin keys has none of them. Does not depend on the engine.
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api.schemas import Erased, EraseVisitor, ManagedItem
from tallycast.contract.errors import Unauthorized
from tallycast.contract.items import check_item
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.domain.visitors import check_visitor
from tallycast.services.moderation import ITEM_ACTIONS, State
from tallycast.transport.http.problems import CLIENT
from tallycast.transport.http.requests import bearer, json_answer, query_and_site, read_json


class AdminKeys(Protocol):
    """Checks admin keys; see ``access.guard.Guard``."""

    def administrator(self, site: Site, key: str) -> str:
        """The fingerprint of an admin key."""


class KeyAdmission(Protocol):
    """Limits guesses of keys; see ``access.admission.Admission``."""

    def wrong_admin_key(self, client: Client) -> None:
        """Charge a request with a wrong admin key."""


class Moderation(Protocol):
    """Applies actions; see ``services.moderation.Moderation``."""

    async def apply(self, key: str, action: str, site: Site, item: str) -> State:
        """Apply an action to an item. Returns the new state of the item."""

    async def erase(self, key: str, site: Site, visitor: str) -> int:
        """Clear every reaction of a visitor. Returns their number."""


class AdminEndpoints:
    """The endpoints below ``/v1/admin``."""

    def __init__(self, moderation: Moderation, keys: AdminKeys, admission: KeyAdmission) -> None:
        self._moderation = moderation
        self._keys = keys
        self._admission = admission

    def routes(self) -> Sequence[Route]:
        """Every path."""
        items = (Route(f"/v1/admin/{action}", self.item, methods=["POST"]) for action in ITEM_ACTIONS)
        return (*items, Route("/v1/admin/erase", self.erase, methods=["POST"]))

    async def item(self, request: Request) -> Response:
        """Apply the action in the path to an item."""
        query, site = query_and_site(request)
        key = self._key(request, site)
        # Not the site's own rule: an item that it no longer allows can still be removed.
        item = check_item(query.item)
        action = request.scope["path"].rpartition("/")[2]
        state = await self._moderation.apply(key, action, site, item)
        return json_answer(ManagedItem(item, state.version, state.counts, state.frozen))

    async def erase(self, request: Request) -> Response:
        """Clear every reaction of a visitor."""
        _, site = query_and_site(request)
        key = self._key(request, site)
        body = await read_json(request, EraseVisitor, '{"visitor": "u:…"}')
        return json_answer(Erased(await self._moderation.erase(key, site, check_visitor(body.visitor))))

    def _key(self, request: Request, site: Site) -> str:
        """The fingerprint of the admin key of a request.

        Raises:
            HTTPException: the site has no admin keys.
            Unauthorized: there is no key, or a wrong one.
        """
        if not site.admin_keys:
            raise HTTPException(404)
        key = bearer(request)
        if key is None:
            raise Unauthorized("Authorization: Bearer <admin key> is needed")
        try:
            return self._keys.administrator(site, key)
        except Unauthorized:
            self._admission.wrong_admin_key(request.scope[CLIENT])
            raise
