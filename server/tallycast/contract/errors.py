"""Every error and close code of the project, in one tree.

Owns the names and what each means to a client or an operator. Must not know who raises them.

    TallycastError
    ├── Refusal               one request is refused; the connection goes on
    │   ├── BadMessage        bad_message      400   (413 where the message is too large)
    │   ├── BadItem           bad_item         400
    │   ├── BadReaction       bad_reaction     400
    │   ├── TooManyItems      too_many_items   400
    │   ├── Unauthorized      unauthorized     401
    │   ├── Forbidden         forbidden        403
    │   ├── UnknownSite       unknown_site     404
    │   ├── RateLimited       rate_limited     429
    │   └── Unavailable       unavailable      503
    │       └── OutcomeUnknown  the request was sent, and its answer never came
    ├── StartError            the server cannot start; one line for the operator
    │   ├── SettingsError
    │   └── EngineError
    ├── NotHealthy            the server does not answer as it should; one line for the operator
    ├── LoadError             a load test cannot be run; one line for the person who runs it
    └── ImportFailed          a file cannot be imported; one line for the person who imports it
"""

from enum import IntEnum
from typing import ClassVar


class TallycastError(Exception):
    """The root: catch it to catch everything this project raises on purpose."""


class Refusal(TallycastError):  # noqa: N818  the contract refuses; nothing went wrong
    """One request is refused and has no effect.

    ``code`` is the contract's word for it, ``status`` its HTTP status. ``str(refusal)`` is a sentence
    for the developer of the client. ``item`` is the item id concerned, ``retry_after`` seconds to wait.
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
    """Not an item id: see ``rules.items``."""

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
    """No token, or one that does not hold."""

    code = "unauthorized"
    status = 401


class Forbidden(Refusal):
    """Known, but not allowed: an origin that is not the site's, for one."""

    code = "forbidden"
    status = 403


class UnknownSite(Refusal):
    """No site of that name is served here."""

    code = "unknown_site"
    status = 404


class RateLimited(Refusal):
    """Too much, too fast; ``retry_after`` says when."""

    code = "rate_limited"
    status = 429


class Unavailable(Refusal):
    """Not confirmed in time. It may have taken effect; it will not take effect later."""

    code = "unavailable"
    status = 503


class OutcomeUnknown(Unavailable):
    """It was sent and nothing came back: it may still take effect, until its deadline."""


class StartError(TallycastError):
    """The server cannot start. ``str(error)`` is one line for the operator."""


class SettingsError(StartError):
    """A setting is wrong."""


class EngineError(StartError):
    """The engine cannot be started or used."""


class NotHealthy(TallycastError):  # noqa: N818  an answer, not a defect
    """A health check failed."""


class LoadError(TallycastError):
    """A load test cannot be run. ``str(error)`` is one line for the person who runs it."""


class ImportFailed(TallycastError):  # noqa: N818  an ImportError is something else
    """A file cannot be imported, or not to its end. ``str(error)`` is one line for whoever wants it."""


class CloseCode(IntEnum):
    """WebSocket close codes this server sends (RFC 6455, section 7.4, and the contract).

    After 4500 to 4999 a client must not reconnect.
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
