"""Builds the services of a worker.

Owns their wiring. Does not depend on what uses them.
"""

from collections.abc import Callable
from typing import NamedTuple

from tallycast.access.guard import Guard
from tallycast.engine.store import Store
from tallycast.fanout.fanout import Fanout
from tallycast.ledger.merge import Merge
from tallycast.ledger.reader import Query
from tallycast.ledger.visitor_reactions import VisitorReactions
from tallycast.ledger.writer import SetReaction
from tallycast.services.accounts import Accounts
from tallycast.services.moderation import Moderation
from tallycast.services.reactions import Clock, Reactions
from tallycast.services.subscriptions import Subscriptions


class Services(NamedTuple):
    """All services, for the composition root to hand out."""

    reactions: Reactions
    subscriptions: Subscriptions
    accounts: Accounts
    moderation: Moderation


def build(
    engine: Store,
    fanout: Fanout,
    guard: Guard,
    visitor_reactions: VisitorReactions,
    clock: Clock,
    read: Callable[[Query], None],
    write: Callable[[SetReaction], None],
    merge: Callable[[Merge], None],
) -> Services:
    """The services over an engine.

    Args:
        guard: the sites and their tokens.
        clock: for the rate limits.
        read, write, merge: the ``submit`` of the reader, the writer and the merger.
    """
    namespace = engine.namespace
    reactions = Reactions(namespace, write, clock)
    return Services(
        reactions,
        Subscriptions(namespace, fanout.hub, guard, read, lambda: fanout.feed.up),
        Accounts(namespace, guard, fanout.visitors, visitor_reactions, read, merge, reactions.charge),
        Moderation(engine, visitor_reactions, read),
    )
