"""What the web layer is given to work with.

``app`` fills it with plain callables; sessions and endpoints see nothing else of the ledger, the hub or the
guard.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.contract.errors import Unavailable
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.engine.keys import Namespace, member
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import UNKNOWN
from tallycast.fanout.visitors import VisitorChannels
from tallycast.ledger.batch import answered
from tallycast.ledger.merge import Merge
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import Committed, SetReaction
from tallycast.services.accounts import VisitorReactions
from tallycast.services.moderation import AdminActions
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.drain import Drain
from tallycast.transport.stats import ConnectionStats
from tallycast.transport.timer_wheel import Drainable, TimerWheel
from tallycast.transport.websocket.parser import SharedParser


@dataclass(frozen=True, slots=True)
class Rooms:
    """One worker's parts.

    ``parser`` is the one that all idle connections share. ``ready`` tells whether what happens is heard of
    right now, ``writable`` whether the engine takes what is written, ``evicting`` whether it would delete
    votes when its memory is full. ``soon`` calls a function in the next turn of the loop.
    """

    namespace: Namespace
    guard: Guard
    admission: Admission
    hub: Hub
    visitors: VisitorChannels
    timers: TimerWheel[Drainable]
    drain: Drain
    coalescer: WriteCoalescer
    parser: SharedParser
    write: Callable[[SetReaction], None]
    read: Callable[[Query], None]
    merge: Callable[[Merge], None]
    visitor_reactions: VisitorReactions
    admin_actions: AdminActions
    ready: Callable[[], bool]
    soon: Callable[[Callable[[], None]], object]
    stats: ConnectionStats = field(default_factory=ConnectionStats)
    writable: Callable[[], bool] = lambda: True
    evicting: Callable[[], bool] = lambda: False

    def serving(self) -> bool:
        """Whether people should be sent here. If not, why is for the log and the metrics to say."""
        return self.ready() and self.writable() and not (self.evicting() or self.drain.begun)

    async def identify(self, site: Site, token: str) -> Identity:
        """Who the token speaks for.

        Raises:
            Forbidden, Unauthorized, Unavailable: as ``Guard.identify`` says.
        """
        return await answered(lambda done: self.guard.identify(site, token, done))

    async def react(self, site: Site, item: str, visitor: str, reaction: str | None) -> Committed:
        """Set a visitor's reaction and wait for the receipt.

        Raises:
            RateLimited: the visitor reacts too fast.
            Unavailable: not confirmed in time.
        """
        self.allow(site, visitor)
        who = member(visitor)
        return await answered(lambda done: self.write(SetReaction(site, item, who, reaction, 0, done)))

    def allow(self, site: Site, visitor: str, amount: int = 1) -> None:
        """Let a visitor react, or do what costs as much as so many reactions.

        Raises:
            RateLimited: too much, too fast.
        """
        channel = self.namespace.visitor_channel(site.name, member(visitor))
        self.admission.reaction(channel, site.limits.reactions, amount)

    async def counts(self, site: Site, items: Sequence[str]) -> list[State]:
        """The stored state of items; while the engine is away, what is shown of them here.

        Raises:
            Unavailable: neither can be had.
        """
        known = self._known(site, items)
        if known is not None and not self.ready():
            return known
        try:
            return await self.states(site, items, None)
        except Unavailable:
            if known is None:
                raise
            return known

    async def states(self, site: Site, items: Sequence[str], visitor: str | None) -> list[State]:
        """Read the stored state of items.

        Raises:
            Unavailable: not read in time.
        """
        return await answered(lambda done: self.read(Query(site, items, visitor, done)))

    def _known(self, site: Site, items: Sequence[str]) -> list[State] | None:
        """What is shown of items here; ``None`` unless all of them are known."""
        topics = self.hub.known(self.namespace.item_channel(site.name, item) for item in items)
        if len(topics) < len(items) or any(topic.version == UNKNOWN for topic in topics):
            return None
        return [
            State(topic.version, {kind: topic.counts.get(kind, 0) for kind in site.kinds}, None)
            for topic in topics
        ]
