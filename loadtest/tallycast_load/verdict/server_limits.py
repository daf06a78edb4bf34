"""Limits of the server that a run came up against, and what to change: they are no mistake of either side.

Pure.
"""

import re
from collections.abc import Mapping

from tallycast_load.measure.violations import CUT

# The contract's words for "too much": an error code, HTTP statuses, a close code.
_TOO_MUCH = re.compile(r"\brate_limited\b|\b(429|503|4003)\b")


def reactions(refused: Mapping[str, int], visitors: int) -> list[str]:
    """What to say when reactions were refused for being too many."""
    number = refused.get("rate_limited", 0)
    if not number:
        return []
    return [
        f"the server's limits refused {number:,} reactions (rate_limited): raise those on a visitor's "
        "reactions, on new items and on an address's requests, or use fewer --items and more --visitors "
        f"(now {visitors:,})"
    ]


def connections(failures: Mapping[str, int]) -> list[str]:
    """What to say when connections were refused for being too many."""
    advice = []
    if number := sum(count for why, count in failures.items() if _TOO_MUCH.search(why)):
        advice.append(
            f"the server's limits refused {number:,} connections: raise its limits on connections, those for "
            "each address too, use a lower --ramp, or come from more machines"
        )
    if number := failures.get(CUT, 0):
        advice.append(
            f"the server cut off {number:,} connections before it had answered: it may be out of open files, "
            "one for each connection of a worker (ulimit -n, --workers)"
        )
    return advice
