"""Limits that are out of the way, for tests that are about something else.

They do in a second what people do in an hour. Tests that are about limits set their own.
"""

from pathlib import Path

from tallycast.domain.limits import Limits
from tallycast.domain.rates import Rate
from tallycast_load.coordinator.private_server import SITES

_MUCH = Rate(1_000_000, 1_000_000)
LOOSE = Limits(messages=_MUCH, ids=_MUCH, reactions=_MUCH, new_items=_MUCH)


def loose(folder: Path) -> list[str]:
    """The flags of a server that goes by it; the file for that is put into the folder."""
    config = folder / "loose.toml"
    config.write_text(SITES)
    return ["--config", str(config), "--demo"]
