"""The distribution over the items: uniform, by Zipf's law, or with one hot item.

Pure. Item 0 is the most popular one. ``chance`` is a random number from 0 to 1.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

EXPECTED = "uniform, zipf:EXPONENT (0 to 5) or hot:SHARE (0 to 1)"
_FORMAT = re.compile(r"(uniform)|(zipf|hot):(\d+(?:\.\d+)?|\.\d+)")
_MAXIMUM = {"zipf": 5.0, "hot": 1.0}


class Spread(NamedTuple):
    """``kind`` is ``uniform``, ``zipf`` or ``hot``; ``amount`` the exponent or the hot item's share."""

    kind: str
    amount: float = 0.0

    @classmethod
    def parse(cls, text: object) -> "Spread":
        """Parse ``zipf:1.1``, ``uniform`` or ``hot:0.9``; raises ``ValueError``."""
        found = _FORMAT.fullmatch(str(text).strip())
        if found is None:
            raise ValueError("not a spread")
        if found[1]:
            return cls("uniform")
        amount = float(found[3])
        if amount > _MAXIMUM[found[2]]:
            raise ValueError("out of range")
        return cls(found[2], amount)

    def __str__(self) -> str:
        return self.kind if self.kind == "uniform" else f"{self.kind}:{self.amount:g}"

    def weights(self, items: int) -> list[float]:
        """Each item's share; they sum to 1."""
        if self.kind == "zipf":
            raw = [(rank + 1) ** -self.amount for rank in range(items)]
        elif self.kind == "hot" and items > 1:
            raw = [self.amount] + [(1 - self.amount) / (items - 1)] * (items - 1)
        else:
            raw = [1.0] * items
        total = sum(raw)
        return [weight / total for weight in raw]


class Picker:
    """Picks items at random, by their shares."""

    def __init__(self, spread: Spread, items: int) -> None:
        self._items = items
        self._cumulative = list(accumulate(spread.weights(items)))

    def pick(self, chance: float) -> int:
        """The item at ``chance``."""
        return min(bisect_right(self._cumulative, chance), self._items - 1)

    def sample(self, number: int, chance: Callable[[], float]) -> list[int]:
        """Pick different items; those not found in time are the most popular of the rest."""
        if number >= self._items:
            return list(range(self._items))
        found: dict[int, None] = {}
        for _ in range(20 * number):
            found[self.pick(chance())] = None
            if len(found) == number:
                return list(found)
        rest = (item for item in range(self._items) if item not in found)
        return [*found, *(next(rest) for _ in range(number - len(found)))]
