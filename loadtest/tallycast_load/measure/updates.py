"""From frames seen and reactions acknowledged to latencies: when did the others see it?

A frame carries every reaction whose version lies above the one that its reader showed before, up to the
frame's own. Frames are seen in every process, acknowledgements arrive in one: so every process is told of all
of them (``learn``), together with a watermark: what was sent before it has been answered, and told. A
sighting is counted when it lies before the watermark, because then nothing that it carries is still unknown.

Pure. Times are nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Beyond so many readers and reactions of one frame, evenly spaced ones stand for their neighbours, the
# slowest of each group for all of it: a hot item with ten thousand readers would need millions of records a
# second.
READERS, REACTIONS = 32, 8
# A frame that nobody brought for so long is forgotten, and decoded again if it comes.
FORGET_AFTER = 5_000_000_000
# A reaction that nobody can be about to see any more: a reader who takes nothing is dropped much sooner.
KEEP_REACTIONS = 60_000_000_000

UNSEEN = object()  # what no reader shows

Record = Callable[[int, int, int], None]


class Carried(NamedTuple):
    """An acknowledged reaction, as far as those who see it are concerned."""

    version: int
    intended: int
    connection: int
    stage: int


class Seen:
    """One distinct ``counts`` frame, and who saw it when. Shared by all readers of a process."""

    __slots__ = ("counts", "first", "item", "keys", "odd", "own", "previous", "reset", "times", "version")

    def __init__(self, item: int, version: int, counts: dict[str, int], reset: bool, now: int) -> None:
        self.item = item
        self.version = version
        self.counts = counts
        self.reset = reset
        self.first = now
        # The bytes that it is recognised by.
        self.keys: list[bytes] = []
        # What the usual reader showed before: who does so is known to see a higher version now.
        self.previous: object = UNSEEN
        # When: the usual readers; others, with the version before; those who have a reaction of their own
        # here.
        self.times: list[int] = []
        self.odd: list[tuple[int, int]] = []
        self.own: list[tuple[int, int, int]] = []


NOTHING = Seen(-1, -1, {}, False, 0)  # what a reader shows before the snapshot


class Sightings:
    """``record`` takes (stage, nanoseconds, weight) of reaction → frame at another watcher.

    ``breathe`` is called every few hundred records: others must have their turn.
    """

    def __init__(self, record: Record, breathe: Callable[[], None]) -> None:
        self._record = record
        self._breathe = breathe
        self._log: defaultdict[int, list[Carried]] = defaultdict(list)
        self._live: list[Seen] = []
        self.updates = 0

    def follow(self, seen: Seen) -> None:
        """A frame that was not known."""
        self._live.append(seen)

    def learn(self, item: int, carried: Carried) -> None:
        """A reaction was acknowledged, somewhere."""
        insort(self._log[item], carried)

    def settle(self, watermark: int, now: int) -> list[Seen]:
        """Count what lies before the watermark; the frames that can be forgotten."""
        forgotten, kept = [], []
        for seen in self._live:
            if seen.first < watermark:
                if seen.times or seen.odd or seen.own:
                    self._count(seen)
                elif now - seen.first > FORGET_AFTER:
                    seen.previous = UNSEEN
                    forgotten.append(seen)
                    continue
            kept.append(seen)
        self._live = kept
        return forgotten

    def trim(self, now: int) -> None:
        """Forget the reactions that nobody can be about to see any more."""
        for log in self._log.values():
            stale = 0
            while stale < len(log) and now - log[stale].intended > KEEP_REACTIONS:
                stale += 1
            del log[:stale]

    def _count(self, seen: Seen) -> None:
        self.updates += len(seen.times) + len(seen.odd) + len(seen.own)
        if seen.times:
            assert isinstance(seen.previous, Seen)
            self._share(self._between(seen, seen.previous.version), seen.times)
            seen.times = []
        if seen.odd:
            groups: defaultdict[int, list[int]] = defaultdict(list)
            for before, at in seen.odd:
                groups[before].append(at)
            for before, times in groups.items():
                self._share(self._between(seen, before), times)
            seen.odd = []
        for before, at, connection in seen.own:
            self._share([c for c in self._between(seen, before) if c.connection != connection], [at])
        seen.own = []

    def _between(self, seen: Seen, before: int) -> list[Carried]:
        log = self._log.get(seen.item)
        if not log:
            return []
        last = (2**63,)
        return log[bisect_right(log, (before, *last)) : bisect_right(log, (seen.version, *last))]

    def _share(self, carried: Sequence[Carried], times: Sequence[int]) -> None:
        if not carried:
            return
        # The first of a group of reactions and the last of a group of readers: never better than it was.
        readers = [(times[end - 1], end - start) for start, end in groups_of(len(times), READERS)]
        for start, end in groups_of(len(carried), REACTIONS):
            one = carried[start]
            if one.stage == 0:
                continue
            for at, weight in readers:
                # Seen before it was due: it changed nothing, everyone showed it already.
                if at > one.intended:
                    self._record(one.stage, at - one.intended, weight * (end - start))
        self._breathe()


def groups_of(number: int, most: int) -> list[tuple[int, int]]:
    """``number`` things in at most ``most`` groups of nearly equal size: where each starts and ends."""
    groups = min(number, most)
    return [(number * group // groups, number * (group + 1) // groups) for group in range(groups)]
