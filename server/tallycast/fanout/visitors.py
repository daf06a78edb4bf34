"""The connections of each visitor, which are notified of the visitor's changes.

Does not depend on what a connection is, or where the changes come from.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

# The connection id of a change that was not made on a connection.
NO_CONNECTION = 0


class VisitorListener(Protocol):
    """A connection of an identified visitor."""

    def on_reaction(self, item: str, version: int, reaction: str | None, connection_id: int) -> None:
        """The visitor's reaction on an item changed."""

    def on_retired(self) -> None:
        """The visitor has become an account, and is retired."""

    def on_revoked(self, at: float) -> None:
        """The tokens that the visitor was issued until then (s since 1970) were revoked."""


class VisitorChannels:
    """The connections of each visitor, by the visitor's channel.

    ``subscribe_channel`` and ``unsubscribe_channel`` start and end the updates of a channel.
    """

    def __init__(
        self, subscribe_channel: Callable[[bytes], None], unsubscribe_channel: Callable[[bytes], None]
    ) -> None:
        self._subscribe_channel = subscribe_channel
        self._unsubscribe_channel = unsubscribe_channel
        self._listeners: defaultdict[bytes, set[VisitorListener]] = defaultdict(set)

    def subscribe(self, channel: bytes, listener: VisitorListener) -> None:
        """Notify a connection of its visitor's changes."""
        if channel not in self._listeners:
            self._subscribe_channel(channel)
        self._listeners[channel].add(listener)

    def unsubscribe(self, channel: bytes, listener: VisitorListener) -> None:
        """Notify it no longer."""
        listeners = self._listeners[channel]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[channel]
            self._unsubscribe_channel(channel)

    def of_site(self, channels: bytes) -> list[VisitorListener]:
        """Every connection of a visitor whose channel begins with ``channels``."""
        return [
            listener
            for channel, listeners in self._listeners.items()
            if channel.startswith(channels)
            for listener in listeners
        ]

    def notify(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        """Notify the visitor's connections of a reaction; ``connection_id`` is the one that set it."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_reaction(item, version, reaction, connection_id)

    def retire(self, channel: bytes) -> None:
        """Notify the visitor's connections that it is retired."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_retired()

    def revoke(self, channel: bytes, at: float) -> None:
        """Notify the visitor's connections that its tokens were revoked."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener.on_revoked(at)
