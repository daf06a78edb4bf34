"""Moderation: what administrators do to the items and visitors of a site.

Owns the actions, and their order: an action is noted in the audit trail, then executed, so that the trail
lacks none. An action that was ``Unavailable`` is harmless to repeat. Does not depend on how administrators
are identified.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import structlog

from tallycast.contract.errors import BadMessage, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.store import Data
from tallycast.ledger import moderation, trail
from tallycast.ledger.batch import answered
from tallycast.ledger.reader import Query
from tallycast.ledger.reader import State as State

ITEM_ACTIONS: Mapping[str, Callable[[Data, str, str], Awaitable[object]]] = {
    "reset": moderation.reset,
    "remove": moderation.remove,
    "freeze": partial(moderation.freeze, frozen=True),
    "unfreeze": partial(moderation.freeze, frozen=False),
}

_log = structlog.get_logger("admin")


class Erasure(Protocol):
    """Erases reactions; see ``ledger.visitor_reactions.VisitorReactions``."""

    async def erase(self, site: Site, visitor: str) -> int: ...


class Moderation:
    """Applies the actions of administrators.

    Args:
        engine: the store.
        reactions: erases the reactions of a visitor.
        read: queues a query for the next batch, like the reader's ``submit``.
    """

    def __init__(self, engine: Data, reactions: Erasure, read: Callable[[Query], None]) -> None:
        self._engine = engine
        self._reactions = reactions
        self._read = read

    async def apply(self, key: str, action: str, site: Site, item: str) -> State:
        """Apply one of ``ITEM_ACTIONS`` to an item. Returns the new state of the item.

        ``key`` is the fingerprint of the admin key.

        Raises:
            Unavailable: not confirmed in time.
        """
        await trail.note(self._engine, key, action, site.name, item=item)
        _log.info("admin action requested", key=key, action=action, site=site.name, item=item)
        await ITEM_ACTIONS[action](self._engine, site.name, item)
        states: list[State] = await answered(lambda done: self._read(Query(site, [item], None, done)))
        return states[0]

    async def erase(self, key: str, site: Site, visitor: str) -> int:
        """Clear every reaction of a visitor. Returns the number of reactions.

        Raises:
            BadMessage: the visitor has become an account.
            Unavailable: not confirmed in time; a part is done.
        """
        await trail.note(self._engine, key, "erase", site.name, member=keys.member(visitor))
        _log.info("admin action requested", key=key, action="erase", site=site.name)
        try:
            return await self._reactions.erase(site, visitor)
        except Unauthorized as refusal:
            raise BadMessage(str(refusal)) from None
