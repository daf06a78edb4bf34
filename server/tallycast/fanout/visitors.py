"""Which connections belong to which visitor, so that all of them hear what any of them does.

Must not know what a connection is, or where the news comes from.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

# The origin of what came from no connection.
NOBODY = 0


class VisitorListener(Protocol):
    """A connection of a known visitor."""

    def on_reaction(self, item: str, version: int, reaction: str | None, origin: int) -> None:
        """What the visitor holds on an item changed."""

    def on_retired(self) -> None:
        """The visitor has become an account, and is no more."""

    def on_revoked(self, at: float) -> None:
        """What the visitor was issued until then (seconds since 1970) holds no more."""


class VisitorChannels:
    """Which connections belong to which visitor, by the visitor's channel."""

    def __init__(self, follow: Callable[[bytes], None], leave: Callable[[bytes], None]) -> None:
        self._follow = follow
        self._leave = leave
        self._present: defaultdict[bytes, set[VisitorListener]] = defaultdict(set)

    def join(self, channel: bytes, listener: VisitorListener) -> None:
        """The connection hears of its visitor's changes from now on."""
        if channel not in self._present:
            self._follow(channel)
        self._present[channel].add(listener)

    def leave(self, channel: bytes, listener: VisitorListener) -> None:
        """It hears of them no more."""
        present = self._present[channel]
        present.discard(listener)
        if not present:
            del self._present[channel]
            self._leave(channel)

    def on(self, site: bytes) -> list[VisitorListener]:
        """Every connection here of a visitor whose channel begins like this."""
        return [
            listener
            for channel, present in self._present.items()
            if channel.startswith(site)
            for listener in present
        ]

    def notify(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        """Tell the visitor's connections here, the one it came from excepted by its ``origin``."""
        for listener in tuple(self._present.get(channel, ())):
            listener.on_reaction(item, version, reaction, origin)

    def retire(self, channel: bytes) -> None:
        """Tell the visitor's connections here that it is no more."""
        for listener in tuple(self._present.get(channel, ())):
            listener.on_retired()

    def revoke(self, channel: bytes, at: float) -> None:
        """Tell the visitor's connections here that what it was issued until then holds no more."""
        for listener in tuple(self._present.get(channel, ())):
            listener.on_revoked(at)
