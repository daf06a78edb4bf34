"""How much may come how fast: token buckets as plain arithmetic.

Owns the sum. A bucket is one number, the moment at which it will be full again, so that one that nobody takes
from needs no attention, and one that is full no memory. Time is an argument, in seconds of any clock that
only goes forward. Must not know what is counted, nor what is done about too much of it.
"""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

# No bucket is refused what it holds because sums of fractions are not exact (s).
TOLERANCE = 1e-6
# As many buckets are kept before the full ones among them are looked for, and at most.
FEW, MOST = 1024, 100_000
# Where many are kept they are looked for no more often than this (s).
TIDY_EVERY = 1.0
# Buckets for all those who have no room for their own.
SHARED = 4096

_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(s|m|h) burst (\d{1,9})", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, and ``per_second`` from then on."""

    per_second: float
    burst: int

    def spend(self, full_at: float, now: float, amount: float = 1) -> float:
        """When the bucket that would be full at ``full_at`` is full if so much is taken from it now."""
        return (full_at if full_at > now else now) + amount / self.per_second

    def wait(self, full_at: float, now: float) -> float:
        """How long (s) it takes until what was spent is covered; 0 where it is."""
        lacks = full_at - now - self.burst / self.per_second
        return lacks if lacks > TOLERANCE else 0.0

    def left(self, full_at: float, now: float) -> int:
        """How many may still be taken now."""
        until_full = max(0.0, full_at - now - TOLERANCE)
        return max(0, int(self.burst - until_full * self.per_second))

    def __str__(self) -> str:
        return f"{self.per_second:.6f}".rstrip("0").rstrip(".") + f"/s burst {self.burst}"


def rate(text: str) -> Rate:
    """The rate in a text such as ``10/s burst 20``; ``/m`` and ``/h`` are by the minute and by the hour.

    Raises:
        ValueError: it is something else.
    """
    found = _FORM.fullmatch(text)
    if found is None or not float(found[1]) or not int(found[3]):
        raise ValueError(f"{text!r} is not a rate: expected one like '10/s burst 20', or with /m or /h")
    return Rate(float(found[1]) / _SECONDS[found[2]], int(found[3]))


class Buckets(Generic[K]):
    """A bucket for each key. One that is full again may be forgotten; one that is not never is.

    So memory is bounded without forgiving anybody anything. When ``most`` keys are not full, which takes that
    many addresses or visitors within seconds, a key that has no bucket takes from one that it shares with its
    ``crowd``: the larger network that it belongs to, say. There are ``SHARED`` of those; which crowds fall
    into the same one nobody can know, because Python hashes text with a secret of the process.
    """

    def __init__(self, most: int = MOST, crowd: Callable[[K], Hashable] = lambda key: key) -> None:
        self._most = most
        self._crowd = crowd
        self._tidy_at = min(FEW, most)
        self._not_before = 0.0
        self._full_at: dict[K, float] = {}
        self._shared: dict[int, float] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._full_at) + len(self._shared)

    def take(self, key: K, rate: Rate, now: float, amount: float = 1) -> float:
        """Take so much; 0, or how long (s) to wait for it, and then nothing was taken."""
        full_at = rate.spend(self._present(key, now), now, amount)
        wait = rate.wait(full_at, now)
        if not wait:
            self._keep(key, full_at)
        return wait

    def charge(self, key: K, rate: Rate, now: float, amount: float) -> None:
        """Take so much for what was done already, until a whole burst is owed."""
        full_at = rate.spend(self._present(key, now), now, amount)
        self._keep(key, min(full_at, now + 2 * rate.burst / rate.per_second))

    def _present(self, key: K, now: float) -> float:
        """When the bucket that the key takes from is full."""
        if key not in self._full_at and len(self._full_at) >= self._tidy_at and now >= self._not_before:
            self._tidy(now)
        if self._has_room(key):
            return self._full_at.get(key, now)
        return self._shared.get(self._share(key), now)

    def _keep(self, key: K, full_at: float) -> None:
        if self._has_room(key):
            self._full_at[key] = full_at
        else:
            self._shared[self._share(key)] = full_at

    def _has_room(self, key: K) -> bool:
        return key in self._full_at or len(self._full_at) < self._most

    def _share(self, key: K) -> int:
        return hash(self._crowd(key)) % SHARED

    def _tidy(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._shared = {share: full_at for share, full_at in self._shared.items() if full_at > now}
        self._tidy_at = min(max(FEW, 2 * len(self._full_at)), self._most)
        # Looking at all of them takes milliseconds, which must not be had for a request.
        self._not_before = now + TIDY_EVERY
