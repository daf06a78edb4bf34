"""What administrators do to a site's items and visitors: each deed is noted in the audit trail, then done.

Owns the names of the deeds, and that order: nothing is done that is not in the trail. Whatever was
``Unavailable`` is harmless to repeat. Must not know who may ask.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from tallycast.contract.errors import BadMessage, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.store import Store
from tallycast.ledger import moderation, trail
from tallycast.ledger.batch import answered
from tallycast.ledger.reader import Query, State
from tallycast.services.accounts import VisitorReactions

ITEM_DEEDS: Mapping[str, Callable[[Store, str, str], Awaitable[object]]] = {
    "reset": moderation.reset,
    "remove": moderation.remove,
    "freeze": partial(moderation.freeze, frozen=True),
    "unfreeze": partial(moderation.freeze, frozen=False),
}

_log = structlog.get_logger("admin")


class AdminActions:
    """``who`` is what stands for an admin key; ``read`` is the reader's ``submit``."""

    def __init__(
        self, engine: Store, visitor_reactions: VisitorReactions, read: Callable[[Query], None]
    ) -> None:
        self._engine = engine
        self._holdings = visitor_reactions
        self._read = read

    async def to_item(self, who: str, what: str, site: Site, item: str) -> State:
        """Do one of ``ITEM_DEEDS``; the item as it is then.

        Raises:
            Unavailable: not confirmed in time.
        """
        await trail.note(self._engine, who, what, site.name, item=item)
        _log.info("done with an admin key", who=who, what=what, site=site.name, item=item)
        await ITEM_DEEDS[what](self._engine, site.name, item)
        states: list[State] = await answered(lambda done: self._read(Query(site, [item], None, done)))
        return states[0]

    async def erase(self, who: str, site: Site, visitor: str) -> int:
        """Take back all that a visitor holds; how many reactions there were.

        Raises:
            BadMessage: the visitor has become an account.
            Unavailable: not confirmed in time; a part is done.
        """
        await trail.note(self._engine, who, "erase", site.name, member=keys.member(visitor))
        _log.info("done with an admin key", who=who, what="erase", site=site.name)
        try:
            return await self._holdings.erase(site, visitor)
        except Unauthorized as refusal:
            raise BadMessage(str(refusal)) from None
