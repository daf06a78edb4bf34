"""The parts around a session, a stream or a socket, for tests of transports without a worker around them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.routing import Route
from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.api.application import api_routes
from tallycast.domain.limits import Caps
from tallycast.domain.sites import Site
from tallycast.fanout.hub import Hub
from tallycast.fanout.visitors import VisitorChannels
from tallycast.ledger.merge import Merge
from tallycast.ledger.reader import Query
from tallycast.ledger.writer import SetReaction
from tallycast.services.accounts import Accounts
from tallycast.services.build import Services
from tallycast.services.reactions import Reactions
from tallycast.services.subscriptions import Subscriptions
from tallycast.session.session import Session, SessionContext
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.registry import Registry
from tallycast.transport.sse import response as sse
from tallycast.transport.sse.response import EventStreams
from tallycast.transport.timer_wheel import TimerWheel
from tallycast.transport.websocket import shared as websocket
from tallycast.transport.websocket.shared import WebSockets

from tests.support.names import NAMES


def all_api_routes() -> list[Route]:
    """The paths of the API, without services behind them."""
    nothing: Any = None
    return api_routes(Services(nothing, nothing, nothing, nothing), nothing, nothing, nothing, nothing, "/")


def ignore(*_: object) -> None:
    """Does nothing."""


def no_later(_delay: float, call: Callable[[], None]) -> None:
    """Calls at once."""
    call()


class Silent:
    """A feed without updates."""

    up = True

    def subscribe(self, channel: bytes) -> None:
        """No update ever arrives."""

    def unsubscribe(self, channel: bytes) -> None:
        """None did before."""

    async def run(self) -> None:
        """There is no link."""


class Parts:
    """The services over a hub, and the transports over them; a store that is not given never answers.

    ``clock`` gives seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        hub: Hub | None = None,
        timers: TimerWheel[Any] | None = None,
        guard: Guard | None = None,
        read: Callable[[Query], None] = ignore,
        write: Callable[[SetReaction], None] = ignore,
        merge: Callable[[Merge], None] = ignore,
        live: Callable[[], bool] = lambda: True,
        soon: Callable[[Any], object] = ignore,
        flush_soon: Callable[[Any], object] = ignore,
    ) -> None:
        nothing: Any = None
        self.timers: TimerWheel[Any] = TimerWheel(clock) if timers is None else timers
        self.guard = guard or Guard({"default": Site()}, b"s" * 32)
        self.admission = Admission(Caps(), clock)
        self.hub = Hub(NAMES.item_channel, ignore, ignore, no_later) if hub is None else hub
        self.visitors = VisitorChannels(ignore, ignore)
        self.reactions = Reactions(NAMES, write, self.timers)
        self.subscriptions = Subscriptions(NAMES, self.hub, self.guard, read, live)
        self.accounts = Accounts(
            NAMES, self.guard, self.visitors, nothing, read, merge, self.reactions.charge
        )
        self.open_session = partial(
            Session, SessionContext(self.reactions, self.subscriptions, self.accounts, self.timers)
        )
        self.registry = Registry()
        self.streams = EventStreams(
            sse.register(self.registry), self.subscriptions, self.admission, self.timers
        )
        self.websockets = WebSockets(
            transports=websocket.register(self.registry),
            guard=self.guard,
            admission=self.admission,
            timers=self.timers,
            coalescer=WriteCoalescer(flush_soon),
            open_session=self.open_session,
            soon=soon,
        )
