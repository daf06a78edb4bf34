"""Every error and close code of the public contract.

Owns the names and what each means to a client, and the root of all other errors. Does not depend on where
they are raised.

    TallycastError
    └── Refusal               one request is refused; the connection goes on
        ├── BadMessage        bad_message      400   (413 where the message is too large)
        ├── BadItem           bad_item         400
        ├── BadReaction       bad_reaction     400
        ├── TooManyItems      too_many_items   400
        ├── Unauthorized      unauthorized     401
        ├── Forbidden         forbidden        403
        ├── UnknownSite       unknown_site     404
        ├── RateLimited       rate_limited     429
        └── Unavailable       unavailable      503
            └── OutcomeUnknown  the request was sent and not answered
"""

from enum import IntEnum
from typing import ClassVar


class TallycastError(Exception):
    """The root of all errors that this project raises on purpose."""


class Refusal(TallycastError):  # noqa: N818  a refusal is part of the contract
    """One request is refused and has no effect.

    ``str(refusal)`` is a sentence for the developer of the client.

    Attributes:
        code: The error code of the contract.
        status: The HTTP status.
        item: The item id concerned.
        retry_after: Seconds to wait.
    """

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str, *, item: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.item = item
        self.retry_after = retry_after


class BadMessage(Refusal):
    """Not a message of the contract."""

    code = "bad_message"
    status = 400


class MessageTooLarge(BadMessage):
    """An HTTP body above the limit. On a socket this is close code 1009 instead."""

    status = 413


class BadItem(Refusal):
    """Not an item id: see ``contract.items``."""

    code = "bad_item"
    status = 400


class BadReaction(Refusal):
    """Not one of the site's reactions."""

    code = "bad_reaction"
    status = 400


class TooManyItems(Refusal):
    """More items in one message, or on one connection, than the limits allow."""

    code = "too_many_items"
    status = 400


class Unauthorized(Refusal):
    """No token, or an invalid one."""

    code = "unauthorized"
    status = 401


class Forbidden(Refusal):
    """Not allowed: from an origin that the site does not list, for example."""

    code = "forbidden"
    status = 403


class UnknownSite(Refusal):
    """No site of that name is served here."""

    code = "unknown_site"
    status = 404


class RateLimited(Refusal):
    """A rate limit is exceeded; ``retry_after`` says how long to wait."""

    code = "rate_limited"
    status = 429


class Unavailable(Refusal):
    """Not confirmed in time. It may have taken effect; it will not take effect later."""

    code = "unavailable"
    status = 503


class OutcomeUnknown(Unavailable):
    """Sent, but not answered: it may still take effect, until its deadline."""


class CloseCode(IntEnum):
    """WebSocket close codes that this server sends (RFC 6455, section 7.4, and the contract).

    After 4500 to 4999, a client must not reconnect.
    """

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    STALLED = 4001
    OVERLOADED = 4003
    ABUSIVE = 4500
    BAD_ORIGIN = 4503
    UNKNOWN_SITE = 4504
    BAD_ITEM = 4505
