"""The connections of each visitor, which are notified of the visitor's changes.

Does not depend on what a connection is, or where the changes come from.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

# The origin of a change that was not made on a connection.
NO_ORIGIN = 0


class VisitorListener(Protocol):
    """A connection of an identified visitor."""

    def on_reaction(self, item: str, version: int, reaction: str | None, origin: int) -> None:
        """The visitor's reaction on an item changed."""

    def on_retired(self) -> None:
        """The visitor has become an account, and is retired."""

    def on_revoked(self, at: float) -> None:
        """The tokens that the visitor was issued until then (s since 1970) were revoked."""


class VisitorChannels:
    """The connections of each visitor, by the visitor's channel.

    ``follow`` and ``leave`` start and end the updates of a channel.
    """

    def __init__(self, follow: Callable[[bytes], None], leave: Callable[[bytes], None]) -> None:
        self._follow = follow
        self._leave = leave
        self._listeners: defaultdict[bytes, set[VisitorListener]] = defaultdict(set)

    def join(self, channel: bytes, listener: VisitorListener) -> None:
        """Notify a connection of its visitor's changes."""
        if channel not in self._listeners:
            self._follow(channel)
        self._listeners[channel].add(listener)

    def leave(self, channel: bytes, listener: VisitorListener) -> None:
        """Notify it no longer."""
        listeners = self._listeners[channel]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[channel]
            self._leave(channel)

    def of_site(self, channels: bytes) -> list[VisitorListener]:
        """Every connection of a visitor whose channel begins with ``channels``."""
        return [
            listener
            for channel, listeners in self._listeners.items()
            if channel.startswith(channels)
            for listener in listeners
        ]

    def notify(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        """Notify the visitor's connections of a reaction; ``origin`` is the number of the one that set it."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_reaction(item, version, reaction, origin)

    def retire(self, channel: bytes) -> None:
        """Notify the visitor's connections that it is retired."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_retired()

    def revoke(self, channel: bytes, at: float) -> None:
        """Notify the visitor's connections that its tokens were revoked."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_revoked(at)
