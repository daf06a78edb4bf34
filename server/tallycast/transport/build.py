"""Builds the transports of a worker.

Owns their registration and wiring. Does not depend on the endpoints.
"""

import asyncio
from functools import partial
from typing import NamedTuple

from tallycast.access.build import Access
from tallycast.observability.measures import Snapshot
from tallycast.services.build import Services
from tallycast.session.session import Session, SessionContext
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.drain import Drain
from tallycast.transport.registry import Registry
from tallycast.transport.sse import response as sse
from tallycast.transport.sse.response import EventStreams
from tallycast.transport.timer_wheel import Drainable, TimerWheel
from tallycast.transport.websocket import shared as websocket
from tallycast.transport.websocket.shared import WebSockets


class Transports(NamedTuple):
    """The transports of a worker, and the end of their connections."""

    registry: Registry
    websockets: WebSockets
    streams: EventStreams
    drain: Drain

    def measure(self, found: Snapshot) -> None:
        """Add the measurements of the connections."""
        found.gauge("connections", self.registry.connections())
        found.count("disconnects", self.websockets.disconnects())


def build(
    services: Services,
    access: Access,
    timers: TimerWheel[Drainable],
    loop: asyncio.AbstractEventLoop,
) -> Transports:
    """The transports, over services."""
    registry = Registry()
    context = SessionContext(services.reactions, services.subscriptions, services.accounts, timers)
    return Transports(
        registry,
        WebSockets(
            transports=websocket.register(registry),
            guard=access.guard,
            admission=access.admission,
            timers=timers,
            coalescer=WriteCoalescer(loop.call_soon),
            open_session=partial(Session, context),
            soon=loop.call_soon,
        ),
        EventStreams(sse.register(registry), services.subscriptions, access.admission, timers),
        Drain(timers),
    )
