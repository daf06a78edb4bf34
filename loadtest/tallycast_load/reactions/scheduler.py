"""The reactions of one process: sent when they are due, whatever the server does, and matched with answers.

Owns the clock of the schedule, the ledger and the latencies of answers. Does not depend on how connections
are opened, nor on what watchers receive.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from time import monotonic_ns as now
from typing import Protocol

from tallycast.contract.messages import Ack

from tallycast_load.connections.connection import NEVER, ConnectionContext
from tallycast_load.measure.updates import AckedReaction
from tallycast_load.measure.violations import ANSWERED_TWICE, UNANSWERED, WRONG_ANSWER
from tallycast_load.plan.schedule import DueReaction
from tallycast_load.reactions.ledger import FIRST_REF, ReactionLedger, SentReaction
from tallycast_load.reactions.timer import Timer

SECOND = 1_000_000_000
# A reaction sent so much later than it was due (ns) is late because of this process.
LATE = 10_000_000
# A reaction without an answer for so long (ns) gets none.
TIMEOUT = 20 * SECOND


class Sender(Protocol):
    """How reactions are sent."""

    def can_send(self, visitor: int) -> bool:
        """Whether a visitor's reaction can be sent now."""

    def send(self, ref: int, sent: SentReaction) -> None:
        """Send a reaction."""

    def on_answered(self, sent: SentReaction, version: int) -> None:
        """Note that it was answered, by an ack with this version or by an error (0)."""


class ReactionScheduler:
    """Sends reactions on schedule. ``record`` takes (stage, nanoseconds) of reaction → answer."""

    def __init__(
        self,
        context: ConnectionContext,
        kinds: list[str],
        sender: Sender,
        record: Callable[[int, int], None],
    ) -> None:
        self._context = context
        context.send_due = self.send_due
        self._items = context.items
        self._kinds = kinds
        self._sender = sender
        self._violations = context.violations
        self._record = record
        self._schedule: Iterator[DueReaction] = iter(())
        self._next: DueReaction | None = None
        self._begin = 0
        self._timer: Timer | None = None
        # By visitor: reactions due while its connection is down, sent when it is up again.
        self._waiting: defaultdict[int, list[DueReaction]] = defaultdict(list)
        # A late answer to one of these is not a second answer.
        self._expired: set[int] = set()
        self.ledger = ReactionLedger()
        self.acked_reactions: list[AckedReaction] = []
        self.last_ack = 0
        self.counters: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        # By stage: all that were due, and those of them that were sent late.
        self.late: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        # By stage: due and not acknowledged, for reasons other than this harness.
        self.failed: Counter[int] = Counter()

    @property
    def waiting(self) -> int:
        """How many reactions wait for their visitor's connection."""
        return sum(map(len, self._waiting.values()))

    @property
    def watermark(self) -> int:
        """The moment (ns) before which every sent reaction is answered."""
        oldest = self.ledger.oldest()
        return now() if oldest is None else oldest

    def start(self, schedule: Iterator[DueReaction], begin: int) -> None:
        """Send each when it is due; its time counts from ``begin`` (ns)."""
        self._schedule, self._begin = schedule, begin
        self._timer = Timer(self.send_due)
        self._next = next(self._schedule, None)
        self._set_timer()

    def stop(self) -> None:
        """Send what is due by now, and no more. What cannot be sent counts with the time it has waited."""
        self.send_due()
        moment = now()
        for reactions in self._waiting.values():
            for due in reactions:
                self._count_unsent(due, moment)
        self._next = None
        self._schedule = iter(())
        self._context.next_due = NEVER
        self._waiting.clear()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def on_connected(self, visitor: int) -> None:
        """Send what waited for a visitor's connection."""
        for due in self._waiting.pop(visitor, ()):
            self._send(due)

    def on_disconnected(self, visitor: int, *, intentional: bool) -> None:
        """Close the pending reactions of a visitor whose connection was lost: their outcome is uncertain.

        ``intentional``: dropped by this harness, so that it is no error of the server.
        """
        pending = self.ledger.pending
        for ref in [ref for ref, sent in pending.items() if sent.visitor == visitor]:
            self.counters["cut off"] += 1
            self._close(ref, uncertain=True, error=not intentional)

    def on_ack(self, ref: int, ack: Ack, visitor: int) -> None:
        """Match an ack with its reaction."""
        at = now()
        sent = self.ledger.acknowledge(ref, ack.version)
        if sent is None:
            if ref not in self._expired:
                self._violations.add(ANSWERED_TWICE, f"ref {ref} of visitor {visitor}")
            return
        if ack.item != self._items[sent.item] or ack.reaction != sent.reaction or sent.visitor != visitor:
            self._violations.add(
                WRONG_ANSWER, f"{ack.reaction} on {ack.item} to ref {ref} of visitor {visitor}"
            )
        self.counters["acked"] += 1
        self.last_ack = at
        self.acked_reactions.append(
            AckedReaction(sent.item, ack.version, sent.intended, sent.visitor, sent.stage)
        )
        self._sender.on_answered(sent, ack.version)
        self._record_ack(sent.stage, at - sent.intended)

    def on_error(self, ref: int, code: str) -> bool:
        """Close a reaction that was refused. Returns whether ``ref`` is one of a reaction."""
        if ref < FIRST_REF:
            return False
        self.refused[code] += 1
        self._close(ref, uncertain=code == "unavailable", error=True)
        return True

    def on_answer_lost(self, ref: int) -> None:
        """Close a reaction whose answer cannot arrive any more: its outcome is uncertain."""
        self.counters["cut off"] += 1
        self._close(ref, uncertain=True, error=True)

    def expire(self, timeout: int = TIMEOUT) -> None:
        """Close what was not answered within ``timeout`` (ns), and count the time that it has waited."""
        moment = now()
        for ref in self.ledger.sent_before(moment - timeout):
            sent = self.ledger.pending[ref]
            self._record_ack(sent.stage, moment - sent.intended)
            item = self._items[sent.item]
            self._violations.add(
                UNANSWERED, f"{sent.reaction} on {item} by visitor {sent.visitor} (ref {ref})"
            )
            self._expired.add(ref)
            self._close(ref, uncertain=True, error=True)

    def send_due(self) -> None:
        """Send everything that is due."""
        moment = now()
        while self._next is not None and self._intended(self._next) <= moment:
            due = self._next
            self._count_due(due)
            if self._sender.can_send(due.visitor):
                self._send(due)
            else:
                self._waiting[due.visitor].append(due)
            self._next = next(self._schedule, None)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._next is not None and self._timer is not None:
            at = self._intended(self._next)
            self._timer.set(at)
            self._context.next_due = at
        else:
            self._context.next_due = NEVER

    def _intended(self, due: DueReaction) -> int:
        return self._begin + int(due.at * SECOND)

    def _count_due(self, due: DueReaction) -> None:
        counted = self.late[due.stage]
        counted[0] += 1
        if now() - self._intended(due) > LATE:
            counted[1] += 1

    def _count_unsent(self, due: DueReaction, moment: int) -> None:
        """Count a reaction that is not sent: its latency is at least the time it has waited."""
        self.counters["never sent"] += 1
        self.failed[due.stage] += 1
        self._record_ack(due.stage, moment - self._intended(due))

    def _record_ack(self, stage: int, nanoseconds: int) -> None:
        if stage:
            self._record(stage, nanoseconds)

    def _send(self, due: DueReaction) -> None:
        reaction = self.ledger.choose(due.visitor, due.item, self._kinds, due.chance)
        sent = SentReaction(due.visitor, due.item, reaction, self._intended(due), now(), due.stage)
        self.counters["sent"] += 1
        self._sender.send(self.ledger.add(sent), sent)

    def _close(self, ref: int, *, uncertain: bool, error: bool) -> None:
        sent = self.ledger.reject(ref, uncertain=uncertain)
        if sent is not None:
            self.failed[sent.stage] += error
            self._sender.on_answered(sent, 0)
