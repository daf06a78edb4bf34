"""Latencies of updates: from when a reaction was due until another watcher received it.

An update includes every reaction whose version is above the one that its connection showed before, up to the
update's own. Updates are received in every process, an ack in one: so every process gets all acknowledged
reactions (``add_reaction``), with a watermark: everything sent before it is answered and known. An update is
recorded when it was received before the watermark, because then every reaction that it includes is known.

Pure. Times are nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Beyond so many connections and reactions of one update they are recorded in groups of nearly equal size, the
# slowest of a group for all of it: a hot item with ten thousand watchers would need millions of records a
# second.
CONNECTION_GROUPS, REACTION_GROUPS = 32, 8
# An update not received for so long is forgotten, and decoded again if it arrives.
FORGET_AFTER = 5_000_000_000
# A reaction that no connection can be about to receive: one that reads nothing is closed much sooner.
KEEP_REACTIONS = 60_000_000_000

UNKNOWN = object()  # the previous update, until the first connection receives this one

Record = Callable[[int, int, int], None]


class AckedReaction(NamedTuple):
    """An acknowledged reaction. ``intended`` is when it was due (ns), ``connection`` its visitor's."""

    item: int
    version: int
    intended: int
    connection: int
    stage: int


class Update:
    """One distinct ``counts`` message, and when connections received it. Shared by those of a process."""

    __slots__ = (
        "counts",
        "first",
        "item",
        "keys",
        "previous",
        "received",
        "received_after",
        "received_own",
        "reset",
        "version",
    )

    def __init__(self, item: int, version: int, counts: dict[str, int], reset: bool, now: int) -> None:
        self.item = item
        self.version = version
        self.counts = counts
        self.reset = reset
        self.first = now
        # The bytes that it is recognised by.
        self.keys: list[bytes] = []
        # What most connections showed before it: for these the version need not be compared.
        self.previous: object = UNKNOWN
        # When it was received: by these; by others, with the version they showed; by connections with a
        # reaction of their own to the item, with that version and their number.
        self.received: list[int] = []
        self.received_after: list[tuple[int, int]] = []
        self.received_own: list[tuple[int, int, int]] = []


NO_UPDATE = Update(-1, -1, {}, False, 0)  # what a connection shows before the snapshot


class UpdateLatencies:
    """Records latencies of updates.

    ``record`` takes (stage, nanoseconds, weight). ``checkpoint`` is called every few hundred records, so that
    other work gets its turn.
    """

    def __init__(self, record: Record, checkpoint: Callable[[], None]) -> None:
        self._record = record
        self._checkpoint = checkpoint
        self._reactions: defaultdict[int, list[AckedReaction]] = defaultdict(list)
        self._tracked: list[Update] = []
        self.updates = 0

    def track(self, update: Update) -> None:
        """Add an update that this process received for the first time."""
        self._tracked.append(update)

    def add_reaction(self, reaction: AckedReaction) -> None:
        """Add a reaction that was acknowledged in any process."""
        insort(self._reactions[reaction.item], reaction)

    def record_until(self, watermark: int, now: int) -> list[Update]:
        """Record the updates received before the watermark. Returns those that can be forgotten."""
        forgotten, kept = [], []
        for update in self._tracked:
            if update.first < watermark:
                if update.received or update.received_after or update.received_own:
                    self._record_update(update)
                elif now - update.first > FORGET_AFTER:
                    update.previous = UNKNOWN
                    forgotten.append(update)
                    continue
            kept.append(update)
        self._tracked = kept
        return forgotten

    def trim(self, now: int) -> None:
        """Forget the reactions that no connection can be about to receive."""
        for reactions in self._reactions.values():
            stale = 0
            while stale < len(reactions) and now - reactions[stale].intended > KEEP_REACTIONS:
                stale += 1
            del reactions[:stale]

    def _record_update(self, update: Update) -> None:
        self.updates += len(update.received) + len(update.received_after) + len(update.received_own)
        if update.received:
            assert isinstance(update.previous, Update)
            self._record_groups(self._included(update, update.previous.version), update.received)
            update.received = []
        if update.received_after:
            by_version: defaultdict[int, list[int]] = defaultdict(list)
            for before, at in update.received_after:
                by_version[before].append(at)
            for before, times in by_version.items():
                self._record_groups(self._included(update, before), times)
            update.received_after = []
        for before, at, connection in update.received_own:
            others = [one for one in self._included(update, before) if one.connection != connection]
            self._record_groups(others, [at])
        update.received_own = []

    def _included(self, update: Update, before: int) -> list[AckedReaction]:
        """The reactions that an update adds for a connection that showed version ``before``."""
        reactions = self._reactions.get(update.item)
        if not reactions:
            return []
        start = bisect_right(reactions, (update.item, before, 2**63))
        end = bisect_right(reactions, (update.item, update.version, 2**63))
        return reactions[start:end]

    def _record_groups(self, reactions: Sequence[AckedReaction], times: Sequence[int]) -> None:
        if not reactions:
            return
        # The first of a group of reactions and the last of a group of connections: never better than it was.
        connections = [
            (times[end - 1], end - start) for start, end in groups_of(len(times), CONNECTION_GROUPS)
        ]
        for start, end in groups_of(len(reactions), REACTION_GROUPS):
            reaction = reactions[start]
            if reaction.stage == 0:
                continue
            for at, weight in connections:
                # Received before it was due: it changed nothing, and was shown already.
                if at > reaction.intended:
                    self._record(reaction.stage, at - reaction.intended, weight * (end - start))
        self._checkpoint()


def groups_of(number: int, most: int) -> list[tuple[int, int]]:
    """Divide ``number`` things into at most ``most`` groups of nearly equal size: their (start, end)."""
    groups = min(number, most)
    return [(number * group // groups, number * (group + 1) // groups) for group in range(groups)]
