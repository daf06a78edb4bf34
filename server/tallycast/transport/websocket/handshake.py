"""The answer to an upgrade request: RFC 6455, section 4.2, by the core of ``websockets``.

Owns which upgrades are refused by a status, and which for their site or origin. The latter are accepted and
closed by the connection, so that a page can read the close code. Does not depend on connections.
"""

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from websockets.exceptions import NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tallycast.contract.codec import BY_SUBPROTOCOL, JSON, MAX_MESSAGE, Wire
from tallycast.contract.errors import BadItem, CloseCode, Forbidden, Refusal, Unavailable, UnknownSite
from tallycast.domain.sites import Site
from tallycast.transport.http.problems import as_problem
from tallycast.transport.http.query import Query, Sites

PATH = "/ws"
_CODES: dict[type[Refusal], CloseCode] = {
    BadItem: CloseCode.BAD_ITEM,
    UnknownSite: CloseCode.UNKNOWN_SITE,
    Forbidden: CloseCode.BAD_ORIGIN,
}


class Handshake(NamedTuple):
    """``data`` is the answer to send; if it accepts, ``over_limit`` is the result of ``assign``."""

    data: bytes
    accepted: bool
    wire: Wire = JSON
    over_limit: Refusal | None = None


def admit(request: Request, sites: Sites) -> tuple[Query, Site] | CloseCode:
    """The query and the site of an upgrade request, or the close code for a wrong site or origin."""
    try:
        query = Query(request.path.partition("?")[2].encode("latin-1"))
        site = sites.site(query.site)
        for origin in request.headers.get_all("Origin"):
            sites.check_origin(site, origin)
    except (BadItem, UnknownSite, Forbidden) as refusal:
        return _CODES[type(refusal)]
    return query, site


def answer(request: Request, assign: Callable[[], Refusal | None]) -> Handshake:
    """Answer an upgrade request.

    ``assign`` counts the connection, and returns the refusal if it must not stay. When it raises
    ``Unavailable``, there is no room even to refuse it on a WebSocket.
    """
    core = ServerProtocol(select_subprotocol=_select, max_size=MAX_MESSAGE)
    over_limit = None
    if request.path.partition("?")[0] != PATH:
        response = core.reject(HTTPStatus.NOT_FOUND, f"WebSockets are at {PATH}")
    else:
        try:
            over_limit = assign()
        except Unavailable as refusal:
            response = core.reject(HTTPStatus.SERVICE_UNAVAILABLE, str(refusal))
            response.headers["Retry-After"] = str(math.ceil(refusal.retry_after or 1))
        else:
            response = core.accept(request)
    accepted = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
    if not accepted:
        as_problem(response)
    core.send_response(response)
    wire = BY_SUBPROTOCOL.get(core.subprotocol or "", JSON)
    return Handshake(b"".join(core.data_to_send()), accepted, wire, over_limit)


def _select(core: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first offered subprotocol that is supported; none when none was offered."""
    for subprotocol in offered:
        if subprotocol in BY_SUBPROTOCOL:
            return subprotocol
    if offered:
        raise NegotiationError(f"this server speaks {' and '.join(BY_SUBPROTOCOL)}")
    return None
