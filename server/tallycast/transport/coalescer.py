"""Joins the writes to a connection in one turn of the loop.

Owns the connections that have something to send. Does not depend on what they send.
"""

from collections.abc import Callable
from typing import Protocol


class Sender(Protocol):
    """A connection with something to send."""

    def flush(self) -> None:
        """Send it."""


class WriteCoalescer:
    """``soon`` calls a function in the next turn of the loop, like ``loop.call_soon``."""

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self._soon = soon
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Flush it, once, when this turn of the loop is over."""
        self._senders.append(sender)
        if len(self._senders) == 1:
            self._soon(self._flush)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()
