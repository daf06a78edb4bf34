"""How attention is spread over the items: evenly, by Zipf's law, or on one hot item.

Pure. Item 0 is the most popular one. Chance comes in as numbers from 0 to 1.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

EXPECTED = "uniform, zipf:EXPONENT (0 to 5) or hot:SHARE (0 to 1)"
_SPOKEN = re.compile(r"(uniform)|(zipf|hot):(\d+(?:\.\d+)?|\.\d+)")
_LARGEST = {"zipf": 5.0, "hot": 1.0}


class Spread(NamedTuple):
    """``kind`` is ``uniform``, ``zipf`` or ``hot``; ``amount`` the exponent or the hot item's share."""

    kind: str
    amount: float = 0.0

    @classmethod
    def parse(cls, text: object) -> "Spread":
        """Read ``zipf:1.1``, ``uniform`` or ``hot:0.9``; raises ``ValueError``."""
        found = _SPOKEN.fullmatch(str(text).strip())
        if found is None:
            raise ValueError("not a spread")
        if found[1]:
            return cls("uniform")
        amount = float(found[3])
        if amount > _LARGEST[found[2]]:
            raise ValueError("out of range")
        return cls(found[2], amount)

    def __str__(self) -> str:
        return self.kind if self.kind == "uniform" else f"{self.kind}:{self.amount:g}"

    def weights(self, items: int) -> list[float]:
        """Each item's share of the attention; they sum to 1."""
        if self.kind == "zipf":
            raw = [(rank + 1) ** -self.amount for rank in range(items)]
        elif self.kind == "hot" and items > 1:
            raw = [self.amount] + [(1 - self.amount) / (items - 1)] * (items - 1)
        else:
            raw = [1.0] * items
        total = sum(raw)
        return [weight / total for weight in raw]


class Picker:
    """Turns chance into items."""

    def __init__(self, spread: Spread, items: int) -> None:
        self._items = items
        self._edges = list(accumulate(spread.weights(items)))

    def one(self, chance: float) -> int:
        """The item at ``chance``, a number from 0 to 1."""
        return min(bisect_right(self._edges, chance), self._items - 1)

    def several(self, number: int, chance: Callable[[], float]) -> list[int]:
        """That many different items; what chance does not find in time is the most popular of the rest."""
        if number >= self._items:
            return list(range(self._items))
        found: dict[int, None] = {}
        for _ in range(20 * number):
            found[self.one(chance())] = None
            if len(found) == number:
                return list(found)
        rest = (item for item in range(self._items) if item not in found)
        return [*found, *(next(rest) for _ in range(number - len(found)))]
