"""What one connection may still do: budgets of frames, of ids and of reactions.

Owns one connection's three buckets. Must not know what is done with a message that is too many.
"""

from tallycast.contract.errors import RateLimited
from tallycast.domain.limits import Limits


class Budget:
    """The buckets of one connection; ``now`` is the monotonic clock (s)."""

    __slots__ = ("_ids", "_messages", "_reactions")

    def __init__(self) -> None:
        # When each is full again.
        self._messages = self._ids = self._reactions = 0.0

    def messages(self, limits: Limits, now: float, number: int = 1) -> float:
        """So many frames came; 0, or how long (s) they are ahead of what may come.

        Those that are too many cost work too, so they are counted all the same.
        """
        rate = limits.messages
        self._messages = rate.spend(self._messages, now, number)
        return rate.wait(self._messages, now)

    def flooded(self, limits: Limits, now: float) -> bool:
        """Whether a whole burst more came than may: no client does that by mistake."""
        return limits.messages.wait(self._messages, now) > limits.messages.burst / limits.messages.per_second

    def ids(self, limits: Limits, now: float, number: int) -> None:
        """So many items are to be shown.

        Raises:
            RateLimited: too many; nothing was counted.
        """
        full_at = limits.ids.spend(self._ids, now, number)
        wait = limits.ids.wait(full_at, now)
        if wait:
            raise RateLimited("too many items watched, too fast", retry_after=wait)
        self._ids = full_at

    def reaction(self, limits: Limits, now: float) -> None:
        """One reaction.

        Raises:
            RateLimited: too many; nothing was counted.
        """
        full_at = limits.reactions.spend(self._reactions, now)
        wait = limits.reactions.wait(full_at, now)
        if wait:
            raise RateLimited("too many reactions", retry_after=wait)
        self._reactions = full_at
