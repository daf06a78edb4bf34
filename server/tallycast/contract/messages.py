"""Every message of the contract as a typed struct; one set serves JSON and MessagePack.

Optional fields are ``UNSET`` and omitted on the wire, never ``null``. Unknown fields of clients' messages are
ignored. Does not depend on how a message is encoded or what it does.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_SAFE_INTEGER = 2**53 - 1

SafeInteger = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
Ref = SafeInteger | UnsetType


class Message(Struct, frozen=True, tag_field="type", tag=str.lower, gc=False):
    """The root of all messages; ``type`` is the class name in lower case."""


# Client to server


class Auth(Message, frozen=True):
    """Identify as the visitor of a token."""

    token: str
    merge: str | UnsetType = UNSET
    ref: Ref = UNSET


class Watch(Message, frozen=True, gc=True):
    """Subscribe to items; ``since`` has the versions that the client already shows."""

    items: list[str]
    since: dict[str, SafeInteger] | UnsetType = UNSET
    ref: Ref = UNSET


class Unwatch(Message, frozen=True, gc=True):
    """Unsubscribe from items."""

    items: list[str]
    ref: Ref = UNSET


class React(Message, frozen=True):
    """Set the visitor's reaction to an item; None clears it."""

    item: str
    reaction: str | None
    ref: Ref = UNSET


class Ping(Message, frozen=True):
    """Check the connection."""

    ref: Ref = UNSET


ClientMessage = Auth | Watch | Unwatch | React | Ping

# Server to client


class Counts(Message, frozen=True, gc=True):
    """The counts of an item at ``version``; ``reset``: the store was restored to an earlier state."""

    item: str
    version: int
    counts: dict[str, int]
    reset: bool | UnsetType = UNSET


class Mine(Message, frozen=True):
    """The visitor's reaction to an item at ``version``."""

    item: str
    version: int
    reaction: str | None


class Watching(Message, frozen=True):
    """A ``watch`` took effect."""

    ref: Ref = UNSET


class Unwatched(Message, frozen=True):
    """An ``unwatch`` took effect."""

    ref: Ref = UNSET


class Ready(Message, frozen=True):
    """An ``auth`` took effect."""

    visitor: str
    ref: Ref = UNSET


class Pong(Message, frozen=True):
    """The answer to a ``ping``."""

    ref: Ref = UNSET


class Ack(Message, frozen=True, gc=True):
    """A reaction is stored, with the configured durability."""

    item: str
    reaction: str | None
    version: int
    counts: dict[str, int]
    ref: Ref = UNSET


class Error(Message, frozen=True):
    """A message was refused and had no effect, or a token is no longer valid."""

    code: str
    message: str
    ref: Ref = UNSET
    item: str | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Beat(Message, frozen=True):
    """Heartbeat: nothing else was sent for a while."""


class Bye(Message, frozen=True):
    """The server is draining; reconnect ``retry_after`` seconds after the close."""

    retry_after: float


ServerMessage = Counts | Mine | Watching | Unwatched | Ready | Pong | Ack | Error | Beat | Bye
