"""Limits of the server that a run reached, and what to change: they are no violation of the contract.

Pure.
"""

import re
from collections.abc import Mapping

from tallycast_load.measure.violations import CUT

# How the contract refuses what exceeds a limit: an error code, HTTP statuses, a close code.
_LIMITED = re.compile(r"\brate_limited\b|\b(429|503|4003)\b")


def reactions(refused: Mapping[str, int], visitors: int) -> list[str]:
    """Advice when reactions were refused by a limit."""
    number = refused.get("rate_limited", 0)
    if not number:
        return []
    return [
        f"the server's limits refused {number:,} reactions (rate_limited): raise those on a visitor's "
        "reactions, on new items and on an address's requests, or use fewer --items and more --visitors "
        f"(now {visitors:,})"
    ]


def connections(failures: Mapping[str, int]) -> list[str]:
    """Advice when connections were refused by a limit."""
    advice = []
    if number := sum(count for why, count in failures.items() if _LIMITED.search(why)):
        advice.append(
            f"the server's limits refused {number:,} connections: raise its limits on connections, those for "
            "each address too, use a lower --ramp, or use more machines"
        )
    if number := failures.get(CUT, 0):
        advice.append(
            f"the server closed {number:,} connections during the handshake: it may be out of open files, "
            "one for each connection of a worker (ulimit -n, --workers)"
        )
    return advice
