"""Rate limits: token buckets as plain arithmetic.

Owns the arithmetic. A bucket is one number, the time at which it will be full again, so that an unused bucket
needs no updates and a full one no memory. Time is an argument, in seconds of any monotonic clock. Does not
depend on what is counted, nor on what happens when a rate is exceeded.
"""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

# Tolerance (s) for rounding errors.
TOLERANCE = 1e-6
# Buckets kept before full ones are pruned, and at most.
MIN_BUCKETS, MAX_BUCKETS = 1024, 100_000
PRUNE_INTERVAL = 1.0  # seconds, at least
# Buckets shared by keys beyond the maximum.
SHARED = 4096

_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(s|m|h) burst (\d{1,9})", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}

K = TypeVar("K", bound=Hashable)


class Clock(Protocol):
    """``now`` is a monotonic time in seconds."""

    now: float


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, and ``per_second`` from then on."""

    per_second: float
    burst: int

    def spend(self, full_at: float, now: float, amount: float = 1) -> float:
        """When a bucket that would be full at ``full_at`` is full after ``amount`` is taken from it now."""
        return (full_at if full_at > now else now) + amount / self.per_second

    def wait(self, full_at: float, now: float) -> float:
        """Seconds until the bucket covers what was taken; 0 if it does."""
        missing = full_at - now - self.burst / self.per_second
        return missing if missing > TOLERANCE else 0.0

    def left(self, full_at: float, now: float) -> int:
        """How much may be taken now."""
        until_full = max(0.0, full_at - now - TOLERANCE)
        return max(0, int(self.burst - until_full * self.per_second))

    def __str__(self) -> str:
        return f"{self.per_second:.6f}".rstrip("0").rstrip(".") + f"/s burst {self.burst}"


def rate(text: str) -> Rate:
    """Parse a rate such as ``10/s burst 20``; ``/m`` is per minute, ``/h`` per hour.

    Raises:
        ValueError: it is not a rate.
    """
    found = _FORM.fullmatch(text)
    if found is None or not float(found[1]) or not int(found[3]):
        raise ValueError(f"{text!r} is not a rate: expected one like '10/s burst 20', or with /m or /h")
    return Rate(float(found[1]) / _SECONDS[found[2]], int(found[3]))


class Buckets(Generic[K]):
    """A bucket for each key, in bounded memory. Full buckets are pruned; others are never dropped.

    When ``limit`` buckets are not full, which takes as many addresses or visitors within seconds, a key
    without a bucket shares one with its ``group``, such as the larger network of an address. There are
    ``SHARED`` of these; which groups share a bucket is unpredictable, because Python hashes text with a
    secret of the process.
    """

    def __init__(self, limit: int = MAX_BUCKETS, group: Callable[[K], Hashable] = lambda key: key) -> None:
        self._limit = limit
        self._group = group
        self._prune_at = min(MIN_BUCKETS, limit)
        self._next_prune = 0.0
        self._full_at: dict[K, float] = {}
        self._shared: dict[int, float] = {}

    def __len__(self) -> int:
        """The number of buckets kept."""
        return len(self._full_at) + len(self._shared)

    def take(self, key: K, rate: Rate, now: float, amount: float = 1) -> float:
        """Take an amount: 0, or the seconds to wait if it is too much, and then nothing is taken."""
        full_at = rate.spend(self._full(key, now), now, amount)
        wait = rate.wait(full_at, now)
        if not wait:
            self._keep(key, full_at)
        return wait

    def charge(self, key: K, rate: Rate, now: float, amount: float) -> None:
        """Take an amount for what is already done, down to a debt of one burst."""
        full_at = rate.spend(self._full(key, now), now, amount)
        self._keep(key, min(full_at, now + 2 * rate.burst / rate.per_second))

    def _full(self, key: K, now: float) -> float:
        """When the bucket of a key is full."""
        if key not in self._full_at and len(self._full_at) >= self._prune_at and now >= self._next_prune:
            self._prune(now)
        if self._has_bucket(key):
            return self._full_at.get(key, now)
        return self._shared.get(self._share(key), now)

    def _keep(self, key: K, full_at: float) -> None:
        if self._has_bucket(key):
            self._full_at[key] = full_at
        else:
            self._shared[self._share(key)] = full_at

    def _has_bucket(self, key: K) -> bool:
        return key in self._full_at or len(self._full_at) < self._limit

    def _share(self, key: K) -> int:
        return hash(self._group(key)) % SHARED

    def _prune(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._shared = {share: full_at for share, full_at in self._shared.items() if full_at > now}
        self._prune_at = min(max(MIN_BUCKETS, 2 * len(self._full_at)), self._limit)
        # Pruning takes milliseconds: a client must not be able to cause it by every request.
        self._next_prune = now + PRUNE_INTERVAL
