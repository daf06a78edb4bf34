"""Sets reactions, as fast as the limits of a site allow, and counts the outcomes.

Owns the rate limit of a visitor over all of its connections. Does not depend on sessions or HTTP.
"""

from collections import defaultdict
from collections.abc import Callable

from tallycast.contract.errors import RateLimited, Refusal
from tallycast.domain.rates import Buckets, Clock
from tallycast.domain.sites import Site
from tallycast.engine.keys import Namespace
from tallycast.ledger.batch import answered
from tallycast.ledger.writer import Committed as Committed
from tallycast.ledger.writer import SetReaction
from tallycast.services.author import Author, author_of

ACKED = "acked"


class Reactions:
    """Sets reactions.

    Args:
        namespace: makes the names of visitors in the engine.
        write: queues a reaction for the next batch, like the writer's ``submit``.
        clock: for the rate limits.
    """

    def __init__(self, namespace: Namespace, write: Callable[[SetReaction], None], clock: Clock) -> None:
        self._namespace = namespace
        self._write = write
        self._clock = clock
        self._rates: Buckets[bytes] = Buckets()
        self._outcomes: defaultdict[str, int] = defaultdict(int)

    def set(
        self,
        site: Site,
        item: str,
        author: Author,
        reaction: str | None,
        done: Callable[[Committed | Refusal], None],
    ) -> None:
        """Set a reaction, one of the site's; ``None`` clears it. ``done`` is called exactly once.

        Raises:
            RateLimited: the visitor reacts too fast.
        """
        wait = self._rates.take(author.channel, site.limits.reactions, self._clock.now)
        if wait:
            raise _too_fast(wait)
        self._write(SetReaction(site, item, author.member, reaction, author.connection_id, done))

    async def react(self, site: Site, item: str, visitor: str, reaction: str | None) -> Committed:
        """Set a reaction and wait until it is stored.

        Raises:
            Forbidden: the item is frozen.
            RateLimited: the visitor reacts too fast.
            Unauthorized: the visitor is retired.
            Unavailable: not confirmed in time.
        """
        author = author_of(self._namespace, site.name, visitor)
        return await answered(lambda done: self.set(site, item, author, reaction, done))

    def charge(self, site: Site, visitor: str, amount: int) -> None:
        """Spend the cost of ``amount`` reactions from the rate limit of a visitor.

        Raises:
            RateLimited: too much, too fast.
        """
        rate = site.limits.reactions
        channel = author_of(self._namespace, site.name, visitor).channel
        wait = self._rates.take(channel, rate, self._clock.now, min(amount, rate.burst))
        if wait:
            raise _too_fast(wait)

    def record(self, outcome: object) -> None:
        """Count an outcome: a refusal, or anything else for an acknowledged reaction."""
        self._outcomes[outcome.code if isinstance(outcome, Refusal) else ACKED] += 1

    def outcomes(self) -> dict[str, int]:
        """The number of reactions with each outcome, also of those that never occurred."""
        return {ACKED: 0, **{kind.code: 0 for kind in Refusal.__subclasses__()}, **self._outcomes}


def _too_fast(wait: float) -> RateLimited:
    return RateLimited("too many reactions", retry_after=wait)
