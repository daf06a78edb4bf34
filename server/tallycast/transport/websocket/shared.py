"""What the WebSocket connections of a worker share, and the registration of their transports.

Owns the wiring of a connection, and the count of close codes. Does not depend on what a message means.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.codec import JSON, MSGPACK, Wire
from tallycast.contract.errors import CloseCode, Refusal
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.session.ports import Connection
from tallycast.session.session import Session
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.http.query import Sites
from tallycast.transport.registry import Registry, Transport
from tallycast.transport.timer_wheel import Drainable, TimerWheel
from tallycast.transport.websocket.broadcast import broadcast
from tallycast.transport.websocket.parser import SharedParser

# RFC 6455, section 7.4.1: the page was left, no code was given, there was no closing handshake.
GOING_AWAY, NO_CODE, LOST = 1001, 1005, 1006
CODES = frozenset((*CloseCode, GOING_AWAY, NO_CODE, LOST))


class ConnectionAdmission(Protocol):
    """Counts connections; see ``access.admission.Admission``."""

    def assign(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        """Count a connection for the client of its session; why it must not stay, if so."""

    def refuse_upgrade(self, slot: ConnectionSlot, client: Client) -> bool:
        """Count a refused upgrade. Returns whether to wait for its closing handshake."""

    def remove_connection(self, owner: Client | None) -> None:
        """A counted connection has ended."""


def register(registry: Registry) -> Mapping[Wire, Transport]:
    """Register the transports: one for each wire format."""
    return {
        JSON: registry.register("ws-json", JSON, broadcast),
        MSGPACK: registry.register("ws-msgpack", MSGPACK, broadcast),
    }


@dataclass(frozen=True, slots=True)
class WebSockets:
    """What the WebSocket connections of a worker share.

    Args:
        transports: the transport of each wire format.
        guard: the sites and their origins.
        admission: counts connections.
        timers: the timer of all long-lived connections.
        open_session: starts the conversation on a connection.
        soon: calls a function in the next turn of the loop, like ``loop.call_soon``.
    """

    transports: Mapping[Wire, Transport]
    guard: Sites
    admission: ConnectionAdmission
    timers: TimerWheel[Drainable]
    coalescer: WriteCoalescer
    open_session: Callable[[Connection, Site, Wire], Session]
    soon: Callable[[Callable[[], None]], object]
    parser: SharedParser = field(default_factory=SharedParser)
    closed: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def disconnects(self) -> dict[str, int]:
        """The number of closed sockets, by close code. Codes that peers made up are "other"."""
        found = {str(int(code)): self.closed.get(code, 0) for code in sorted(CODES)}
        return {**found, "other": sum(count for code, count in self.closed.items() if code not in CODES)}
