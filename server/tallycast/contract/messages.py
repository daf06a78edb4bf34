"""Every message of the contract as a typed struct; one set serves JSON and MessagePack.

Optional fields are ``UNSET`` and left out of the wire, never ``null``. Fields that clients send and this
server does not know are ignored. Must not know how a message is encoded or what it does.
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
    """From here on I am the visitor this token names."""

    token: str
    merge: str | UnsetType = UNSET
    ref: Ref = UNSET


class Watch(Message, frozen=True, gc=True):
    """Show me these items; ``since`` says which versions I already show."""

    items: list[str]
    since: dict[str, SafeInteger] | UnsetType = UNSET
    ref: Ref = UNSET


class Unwatch(Message, frozen=True, gc=True):
    """Show me these items no more."""

    items: list[str]
    ref: Ref = UNSET


class React(Message, frozen=True):
    """Set my reaction on an item; ``None`` clears it."""

    item: str
    reaction: str | None
    ref: Ref = UNSET


class Ping(Message, frozen=True):
    """Are you there?"""

    ref: Ref = UNSET


ClientMessage = Auth | Watch | Unwatch | React | Ping

# Server to client


class Counts(Message, frozen=True, gc=True):
    """The counts of an item as of ``version``; ``reset`` when the store went back in time."""

    item: str
    version: int
    counts: dict[str, int]
    reset: bool | UnsetType = UNSET


class Mine(Message, frozen=True):
    """What this visitor holds on an item as of ``version``."""

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
    """I am here."""

    ref: Ref = UNSET


class Ack(Message, frozen=True, gc=True):
    """A reaction is confirmed under the engine's durability."""

    item: str
    reaction: str | None
    version: int
    counts: dict[str, int]
    ref: Ref = UNSET


class Error(Message, frozen=True):
    """A message was refused and had no effect, or a token stopped holding."""

    code: str
    message: str
    ref: Ref = UNSET
    item: str | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Beat(Message, frozen=True):
    """Nothing else was sent for a while."""


class Bye(Message, frozen=True):
    """The server is draining; reconnect that many seconds after the close."""

    retry_after: float


ServerMessage = Counts | Mine | Watching | Unwatched | Ready | Pong | Ack | Error | Beat | Bye
