"""Builds the services of a worker.

Owns their wiring. Does not depend on what uses them.
"""

from typing import NamedTuple

from tallycast.access.guard import Guard
from tallycast.domain.rates import Clock
from tallycast.engine.store import Store
from tallycast.fanout.fanout import Fanout
from tallycast.ledger.factory import Ledger
from tallycast.services.accounts import Accounts
from tallycast.services.moderation import Moderation
from tallycast.services.reactions import Reactions
from tallycast.services.subscriptions import Subscriptions


class Services(NamedTuple):
    """All services, for the composition root to hand out."""

    reactions: Reactions
    subscriptions: Subscriptions
    accounts: Accounts
    moderation: Moderation


def build(engine: Store, ledger: Ledger, fanout: Fanout, guard: Guard, clock: Clock) -> Services:
    """The services over an engine.

    Args:
        engine: the store.
        ledger: what is stored there.
        fanout: its updates.
        guard: the sites and their tokens.
        clock: for the rate limits.
    """
    namespace, read, visitor_reactions = engine.namespace, ledger.reader.submit, ledger.visitor_reactions
    reactions = Reactions(namespace, ledger.writer.submit, clock)
    return Services(
        reactions,
        Subscriptions(namespace, fanout.hub, guard, read, lambda: fanout.feed.up),
        Accounts(
            namespace,
            guard,
            fanout.visitors,
            visitor_reactions,
            read,
            ledger.merger.submit,
            reactions.charge,
        ),
        Moderation(engine, visitor_reactions, read),
    )
