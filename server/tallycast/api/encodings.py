"""Which content coding a request wants (RFC 9110, section 12.5.3)."""

import re
from collections.abc import Iterable, Sequence

_WANTED = re.compile(
    r"\s*([\w!#$%&'*+.^`|~-]+)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.ASCII | re.IGNORECASE,
)
# What is not asked for and not refused is taken after everything that is asked for.
_LEAST = 0.0001


def choose(accept_encoding: Iterable[str], offered: Sequence[str]) -> str:
    """The coding that suits the client best; among equals the first one offered.

    ``offered`` ends with ``identity``, which is the answer too when the client refuses everything: it then
    gets something that it may not read, but never an error.
    """
    wishes: dict[str, float] = {}
    for part in ",".join(accept_encoding).split(","):
        found = _WANTED.fullmatch(part)
        if found:
            wishes[found[1].lower()] = 1.0 if found[2] is None else float(found[2])

    def weight(coding: str) -> float:
        return wishes.get(coding, wishes.get("*", _LEAST if coding == offered[-1] else 0.0))

    best = max(offered, key=weight)
    return best if weight(best) > 0 else offered[-1]
