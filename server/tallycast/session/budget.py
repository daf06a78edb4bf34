"""The rate limits of one connection: frames, ids and reactions.

Owns the three buckets. Does not depend on what follows when a limit is exceeded.
"""

from msgspec import Struct

from tallycast.contract.errors import RateLimited
from tallycast.domain.limits import Limits
from tallycast.domain.rates import Clock


class Budget(Struct, gc=False, eq=False):
    """The buckets of one connection. The ``limits`` are the site's, and may be replaced.

    Without the header of the garbage collector, because every connection has one: it refers to nothing that
    refers to a connection, except through ``clock``, which all connections share.
    """

    limits: Limits
    clock: Clock
    # When each bucket is full again.
    _messages: float = 0.0
    _ids: float = 0.0
    _reactions: float = 0.0

    def messages(self, number: int = 1) -> float:
        """Count frames. Returns 0, or how long (s) they are ahead of the limit.

        Frames above the limit cost work, too, so they are counted all the same.
        """
        rate, now = self.limits.messages, self.clock.now
        self._messages = rate.spend(self._messages, now, number)
        return rate.wait(self._messages, now)

    @property
    def flooded(self) -> bool:
        """Whether the limit of frames is exceeded by a whole burst: no client does that by mistake."""
        rate = self.limits.messages
        return rate.wait(self._messages, self.clock.now) > rate.burst / rate.per_second

    def ids(self, number: int) -> None:
        """Spend a number of items to be sent.

        Raises:
            RateLimited: too many; none was counted.
        """
        rate, now = self.limits.ids, self.clock.now
        full_at = rate.spend(self._ids, now, number)
        wait = rate.wait(full_at, now)
        if wait:
            raise RateLimited("too many items watched, too fast", retry_after=wait)
        self._ids = full_at

    def reaction(self) -> None:
        """Spend a reaction.

        Raises:
            RateLimited: too many; it was not counted.
        """
        rate, now = self.limits.reactions, self.clock.now
        full_at = rate.spend(self._reactions, now)
        wait = rate.wait(full_at, now)
        if wait:
            raise RateLimited("too many reactions", retry_after=wait)
        self._reactions = full_at
