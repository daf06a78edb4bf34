"""Engines, servers and links, all real, broken on purpose.

Every case ends with the oracle. ``make faults`` runs the full rounds, the suite a few of each.
"""

import os

FULL = os.environ.get("TALLYCAST_FAULTS") == "full"


def rounds(short: int, full: int) -> int:
    """How often, or how long (s)."""
    return full if FULL else short
