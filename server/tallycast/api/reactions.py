"""The endpoint of reactions.

Does not depend on the engine.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallycast.api.schemas import Ack, SetReaction
from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.services.reactions import Committed
from tallycast.signals.choice import check_reaction
from tallycast.transport.http.requests import (
    Identities,
    json_answer,
    query_and_site,
    read_json,
    required_identity,
)


class Reactions(Protocol):
    """Sets reactions; see ``services.reactions.Reactions``."""

    async def react(self, site: Site, item: str, visitor: str, reaction: str | None) -> Committed:
        """Set a reaction and wait until it is stored."""

    def record(self, outcome: object) -> None:
        """Count an outcome."""


class Accounts(Identities, Protocol):
    """Identifies visitors; see ``services.accounts.Accounts``."""

    async def check_active(self, site: Site, visitor: str) -> None:
        """Check that a visitor has not become an account."""


class ReactionEndpoints:
    """The endpoint ``/v1/reaction``."""

    def __init__(self, reactions: Reactions, accounts: Accounts) -> None:
        self._reactions = reactions
        self._accounts = accounts

    def routes(self) -> Sequence[Route]:
        """Every path."""
        return (Route("/v1/reaction", self.reaction, methods=["PUT", "DELETE"]),)

    async def reaction(self, request: Request) -> Response:
        """Set (PUT) or clear (DELETE) the bearer's reaction on an item."""
        try:
            answer = await self._react(request)
        except Refusal as refusal:
            self._reactions.record(refusal)
            raise
        self._reactions.record(answer)
        return answer

    async def _react(self, request: Request) -> Response:
        query, site = query_and_site(request)
        visitor = (await required_identity(request, site, self._accounts)).visitor
        item = site.check_item(query.item)
        value = None if request.method == "DELETE" else await _reaction_of(request)
        reaction = check_reaction(value, site.kinds)
        if reaction is None:
            # To clear a reaction that is not held changes nothing, and so does not notice a retired visitor.
            await self._accounts.check_active(site, visitor)
        committed = await self._reactions.react(site, item, visitor, reaction)
        return json_answer(Ack(item, reaction, committed.version, committed.counts))


async def _reaction_of(request: Request) -> Any:
    """The reaction in the body of a PUT, not yet checked."""
    return (await read_json(request, SetReaction, '{"reaction": …}')).reaction
