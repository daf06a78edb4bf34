"""What a session asks of the connection below it. Must not know either."""

from typing import Protocol

from tallycast.contract.errors import CloseCode
from tallycast.fanout.topic import Subscriber


class Connection(Subscriber, Protocol):
    """The connection below a session; it is what the hub brings updates to.

    ``watches_many`` is set by the session: whether more than one item is watched.
    """

    watches_many: bool

    @property
    def blocked(self) -> bool:
        """Whether the peer takes no more bytes for now."""

    def write(self, data: bytes) -> None:
        """Send ready-made frames, together with what else is written in this turn."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read on."""

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
