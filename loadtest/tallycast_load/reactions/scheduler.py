"""The reactions of one process: sent when they are due, whatever the server does, and answered.

Owns the timeline's clock, the visitors' book and the latencies of answers. Must not know how connections are
opened or what watchers see.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from time import monotonic_ns as now
from typing import Protocol

from tallycast.contract.messages import Ack

from tallycast_load.connections.connection import NEVER, Room
from tallycast_load.measure.violations import ANSWERED_TWICE, UNANSWERED, WRONG_ANSWER
from tallycast_load.plan.schedule import Due
from tallycast_load.reactions.ledger import FIRST_REF, Book, Sent
from tallycast_load.reactions.timer import Alarm

SECOND = 1_000_000_000
# A reaction that leaves so much later than it was due was late because of this process.
LATE = 10_000_000
# Without an answer for so long: there will be none.
PATIENCE = 20 * SECOND

News = tuple[int, int, int, int, int]


class Sender(Protocol):
    """How reactions leave."""

    def can(self, visitor: int) -> bool:
        """Whether one could leave now."""

    def send(self, ref: int, sent: Sent) -> None:
        """Let it leave."""

    def answered(self, sent: Sent, version: int) -> None:
        """It was answered; version 0: refused."""


class Reactor:
    """``record`` takes (stage, nanoseconds) of reaction → answer."""

    def __init__(
        self,
        room: Room,
        kinds: list[str],
        sender: Sender,
        record: Callable[[int, int], None],
    ) -> None:
        self._room = room
        room.ring = self.ring
        self._items = room.items
        self._kinds = kinds
        self._sender = sender
        self._faults = room.faults
        self._record = record
        self._dues: Iterator[Due] = iter(())
        self._next: Due | None = None
        self._begin = 0
        self._alarm: Alarm | None = None
        # Whose connection is away: what is due for them leaves when it is back.
        self._waiting: defaultdict[int, list[Due]] = defaultdict(list)
        # An answer that comes after all is no second one.
        self._given_up: set[int] = set()
        self.book = Book()
        self.news: list[News] = []
        self.last_ack = 0
        self.counters: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        # By stage: all that were due, and those of them that left late.
        self.late: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        # By stage: what was due and got no acknowledgement, for reasons that are not this harness's.
        self.failed: Counter[int] = Counter()

    @property
    def waiting(self) -> int:
        """Reactions whose visitor is not connected."""
        return sum(map(len, self._waiting.values()))

    @property
    def watermark(self) -> int:
        """Whatever was sent before is answered."""
        oldest = self.book.oldest()
        return now() if oldest is None else oldest

    def start(self, dues: Iterator[Due], begin: int) -> None:
        """Send each when it is due; times are counted from ``begin``."""
        self._dues, self._begin = dues, begin
        self._alarm = Alarm(self.ring)
        self._step()

    def halt(self) -> None:
        """Send no more than is due by now. What cannot leave counts with the time that it has waited."""
        self.ring()
        moment = now()
        for dues in self._waiting.values():
            for due in dues:
                self._leave_out(due, moment)
        self._next = None
        self._dues = iter(())
        self._room.due = NEVER
        self._waiting.clear()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def back(self, visitor: int) -> None:
        """A visitor's connection is there: what waited for it leaves."""
        for due in self._waiting.pop(visitor, ()):
            self._send(due)

    def gone(self, visitor: int, *, wanted: bool) -> None:
        """A visitor's connection is gone: what was under way on it may or may not have taken effect.

        ``wanted``: by this harness, so that it is no error of the server's.
        """
        for ref in [ref for ref, sent in self.book.under_way.items() if sent.visitor == visitor]:
            self.counters["cut off"] += 1
            self._refuse(ref, unsure=True, error=not wanted)

    def acked(self, ref: int, ack: Ack, visitor: int) -> None:
        """A reaction was confirmed."""
        at = now()
        sent = self.book.acknowledge(ref, ack.version)
        if sent is None:
            if ref not in self._given_up:
                self._faults.add(ANSWERED_TWICE, f"ref {ref} of visitor {visitor}")
            return
        if ack.item != self._items[sent.item] or ack.reaction != sent.wish or sent.visitor != visitor:
            self._faults.add(WRONG_ANSWER, f"{ack.reaction} on {ack.item} to ref {ref} of visitor {visitor}")
        self.counters["acked"] += 1
        self.last_ack = at
        self.news.append((sent.item, ack.version, sent.intended, sent.visitor, sent.stage))
        self._sender.answered(sent, ack.version)
        self._record_ack(sent.stage, at - sent.intended)

    def refuse(self, ref: int, code: str) -> bool:
        """A reaction was refused; whether ``ref`` was one."""
        if ref < FIRST_REF:
            return False
        self.refused[code] += 1
        self._refuse(ref, unsure=code == "unavailable", error=True)
        return True

    def cut(self, ref: int) -> None:
        """The answer to a reaction cannot come any more: its outcome is open."""
        self.counters["cut off"] += 1
        self._refuse(ref, unsure=True, error=True)

    def give_up(self, patience: int = PATIENCE) -> None:
        """Count what was never answered, with the time that it was waited for."""
        moment = now()
        for ref in self.book.overdue(moment - patience):
            sent = self.book.under_way[ref]
            self._record_ack(sent.stage, moment - sent.intended)
            self._faults.add(
                UNANSWERED, f"{sent.wish} on {self._items[sent.item]} by visitor {sent.visitor} (ref {ref})"
            )
            self._given_up.add(ref)
            self._refuse(ref, unsure=True, error=True)

    def ring(self) -> None:
        """Let everything leave that is due."""
        moment = now()
        while self._next is not None and self._intended(self._next) <= moment:
            due = self._next
            self._time(due)
            if self._sender.can(due.visitor):
                self._send(due)
            else:
                self._waiting[due.visitor].append(due)
            self._next = next(self._dues, None)
        self._set()

    def _step(self) -> None:
        self._next = next(self._dues, None)
        self._set()

    def _set(self) -> None:
        if self._next is not None and self._alarm is not None:
            at = self._intended(self._next)
            self._alarm.set(at)
            self._room.due = at
        else:
            self._room.due = NEVER

    def _intended(self, due: Due) -> int:
        return self._begin + int(due.at * SECOND)

    def _time(self, due: Due) -> None:
        """Whether this process kept the schedule."""
        counted = self.late[due.stage]
        counted[0] += 1
        if now() - self._intended(due) > LATE:
            counted[1] += 1

    def _leave_out(self, due: Due, moment: int) -> None:
        """It will not leave: at least so long it would have taken."""
        self.counters["never sent"] += 1
        self.failed[due.stage] += 1
        self._record_ack(due.stage, moment - self._intended(due))

    def _record_ack(self, stage: int, nanoseconds: int) -> None:
        if stage:
            self._record(stage, nanoseconds)

    def _send(self, due: Due) -> None:
        wish = self.book.choose(due.visitor, due.item, self._kinds, due.chance)
        sent = Sent(due.visitor, due.item, wish, self._intended(due), now(), due.stage)
        self.counters["sent"] += 1
        self._sender.send(self.book.send(sent), sent)

    def _refuse(self, ref: int, *, unsure: bool, error: bool) -> None:
        sent = self.book.refuse(ref, unsure=unsure)
        if sent is not None:
            self.failed[sent.stage] += error
            self._sender.answered(sent, 0)
