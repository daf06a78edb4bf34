"""What the web layer is given to work with.

``app`` fills it with plain callables; sessions and endpoints see nothing else of the ledger, the hub or the
guard.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from server.admission import Admission
from server.errors import Unavailable
from server.guard import Guard
from server.hub import Hub
from server.ledger.batch import answered
from server.ledger.deeds import Deeds
from server.ledger.holdings import Holdings
from server.ledger.keys import Namespace, member
from server.ledger.merge import Merge
from server.ledger.reader import Query, State
from server.ledger.writer import Receipt, Wish
from server.people import People
from server.rules.sites import Site
from server.rules.tokens import Identity
from server.topic import UNKNOWN
from server.web.drain import Drain
from server.web.inbound import Shared
from server.web.outbox import Outbox
from server.web.rounds import Connection, Rounds
from server.web.traffic import Traffic


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
    people: People
    rounds: Rounds[Connection]
    drain: Drain
    outbox: Outbox
    parser: Shared
    write: Callable[[Wish], None]
    read: Callable[[Query], None]
    merge: Callable[[Merge], None]
    holdings: Holdings
    deeds: Deeds
    ready: Callable[[], bool]
    soon: Callable[[Callable[[], None]], object]
    traffic: Traffic = field(default_factory=Traffic)
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

    async def react(self, site: Site, item: str, visitor: str, reaction: str | None) -> Receipt:
        """Set a visitor's reaction and wait for the receipt.

        Raises:
            RateLimited: the visitor reacts too fast.
            Unavailable: not confirmed in time.
        """
        self.allow(site, visitor)
        who = member(visitor)
        return await answered(lambda done: self.write(Wish(site, item, who, reaction, 0, done)))

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
