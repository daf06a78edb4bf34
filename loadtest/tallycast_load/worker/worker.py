"""One process of the harness: takes orders on standard input, reports on standard output.

Owns the wiring of its parts and its pulse. A worker ends when its coordinator does.
"""

import asyncio
import gc
import resource
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from time import monotonic_ns as now
from typing import Any

from tallycast.contract.errors import LoadError
from tallycast.contract.messages import Ack, Error

from tallycast_load.client import visitors
from tallycast_load.client.codec import SPEECHES
from tallycast_load.client.http import Http
from tallycast_load.client.items import Store
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Reader, Room
from tallycast_load.connections.event_stream import Stream
from tallycast_load.connections.pool import Crowd
from tallycast_load.connections.websocket import Watcher
from tallycast_load.measure.latency import Latencies
from tallycast_load.measure.updates import Carried, Sightings
from tallycast_load.measure.violations import Faults
from tallycast_load.plan import schedule
from tallycast_load.plan.plan import Plan
from tallycast_load.plan.spread import Picker
from tallycast_load.processes import ipc, machine
from tallycast_load.processes.ipc import Begin, Order, Tick, Word
from tallycast_load.reactions.scheduler import PATIENCE, Reactor, Sender
from tallycast_load.reactions.senders import HttpSender, SocketSender
from tallycast_load.worker.audit import Auditor

PULSE = 0.2
TOKENS_AT_ONCE = 8
# How long the last reactions are waited for (ns).
LAST_PATIENCE = 5_000_000_000


class Worker:
    """``say`` sends a word to the coordinator."""

    def __init__(self, begin: Begin, say: "asyncio.StreamWriter") -> None:
        self._out = say
        self._begin = begin
        self._plan = Plan.model_validate_json(begin.plan)
        self._target = Target.parse(begin.url)
        self._items = [f"load/{begin.run}/{number}" for number in range(self._plan.items)]
        self._faults = Faults()
        self._latencies: defaultdict[str, dict[int, Latencies]] = defaultdict(dict)
        self._sightings = Sightings(
            lambda stage, ns, weight: self._record("update", stage, ns, weight), self._breathe
        )
        self._crowd = Crowd(
            self._target,
            self._target.sources(self._plan.connections),
            self._faults,
            self._arrived,
            self._dropped,
        )
        self._room = Room(
            uri=self._target.websocket(self._plan.site),
            site=self._plan.site,
            speech=SPEECHES[self._plan.protocol],
            items=self._items,
            sightings=self._sightings,
            faults=self._faults,
            ready=self._crowd.arrived,
            ended=self._crowd.ended,
            acked=self._acked,
            refused=self._refused,
        )
        self._http = Http(self._target)
        self._tokens: dict[int, str] = {}
        readers = self._crowd.readers
        sender: Sender = SocketSender(readers, self._room)
        if self._plan.transport == "sse":
            sender = HttpSender(readers, self._room, self._http, self._target, self._tokens)
        self._reactor = Reactor(
            self._room,
            begin.kinds,
            sender,
            lambda stage, ns: self._record("ack", stage, ns, 1),
        )
        if isinstance(sender, HttpSender):
            sender.reactor = self._reactor
        self._tasks: list[asyncio.Task[None]] = []
        self._stoppable: list[asyncio.Task[None]] = []
        self._patience = PATIENCE
        self._trimmed = now()
        machine.allow_files(machine.files_for(self._plan, begin.processes))

    async def prepare(self) -> None:
        """Find tokens for this process's visitors, and make its connections ready to be opened."""
        plan, begin = self._plan, self._begin
        mine = range(begin.number, plan.people, begin.processes)
        if begin.token_key is not None:
            tokens = [visitors.sign(begin.token_key, plan.site, begin.run, visitor) for visitor in mine]
        else:
            http = Http(self._target, TOKENS_AT_ONCE)
            tokens = await visitors.newcomers(
                http, self._target, plan.site, len(mine), lambda done: self.say(ipc.Prepared(done, False))
            )
            http.close()
        self._tokens.update(zip(mine, tokens, strict=True))
        picker = Picker(plan.spread, plan.items)
        self._crowd.add(
            self._reader(number, schedule.watched(number, plan.watch, picker, plan.seed))
            for number in range(begin.number, plan.connections, begin.processes)
        )
        self.say(ipc.Prepared(len(mine), True))
        self._go(self._pulse())

    def _reader(self, number: int, items: list[int]) -> Reader:
        sleepy = number >= self._plan.readers
        if self._plan.transport == "sse":
            return Stream(self._room, self._target, number, items, sleepy)
        return Watcher(self._room, number, items, self._tokens.get(number), sleepy)

    def say(self, word: Word) -> None:
        """Tell the coordinator."""
        self._out.write(ipc.packed(word))

    def obey(self, order: Order) -> None:
        """Do what the coordinator says."""
        match order:
            case ipc.Open(at):
                self._go(self._crowd.open_all(at, self._plan.ramp))
            case ipc.Run(at):
                self._run(at)
            case ipc.News(acked, watermark):
                self._learn(acked, watermark)
            case ipc.Halt():
                self._halt()
            case ipc.Freeze():
                newest = {item: (seen.version, seen.counts) for item, seen in self._room.newest.items()}
                self.say(ipc.Shown(self._crowd.shown(), newest))
            case ipc.Audit():
                self._go(self._audit())

    def close(self) -> None:
        """Leave the server."""
        for task in self._tasks:
            task.cancel()
        self._reactor.halt()
        self._crowd.close()
        self._http.close()

    # Orders

    def _run(self, at: int) -> None:
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        plan = self._plan
        stages = plan.stages()
        self._reactor.start(self._dues(stages), at)
        end = stages[-1].end
        storms = [plan.warmup + storm for storm in plan.storms]
        if plan.churn or storms:
            drops = schedule.drops(plan.connections, plan.churn, end, storms, plan.seed)
            self._go(self._crowd.drop_all(drops, at, plan.ramp), stoppable=True)
        if plan.sleepy:
            self._go(self._crowd.nap(), stoppable=True)

    def _dues(self, stages: list[schedule.Stage]) -> Iterator[schedule.Due]:
        plan, begin = self._plan, self._begin
        crowd = schedule.Crowd(plan.people, plan.items, plan.spread)
        dues = schedule.reactions(stages, crowd, plan.seed, poisson=plan.arrivals == "poisson")
        return (due for due in dues if due.visitor % begin.processes == begin.number)

    def _learn(self, acked: list[tuple[int, int, int, int, int]], watermark: int) -> None:
        for item, version, intended, connection, stage in acked:
            self._sightings.learn(item, Carried(version, intended, connection, stage))
        moment = now()
        for seen in self._sightings.settle(watermark, moment):
            self._room.forget(seen)
        if moment - self._trimmed > 5_000_000_000:
            self._trimmed = moment
            self._sightings.trim(moment)

    def _halt(self) -> None:
        self._reactor.halt()
        self._patience = LAST_PATIENCE
        for task in self._stoppable:
            task.cancel()
        self._crowd.wake()

    async def _audit(self) -> None:
        auditor = Auditor(Store(self._http, self._target, self._plan.site), self._items, self._tokens.get)
        try:
            self.say(await auditor.compare(self._reactor.book))
        except LoadError as error:
            self.say(ipc.Audited(0, 0, [], {}, unread=str(error)))

    # From the parts

    def _record(self, distribution: str, stage: int, nanoseconds: int, weight: int) -> None:
        by_stage = self._latencies[distribution]
        latencies = by_stage.get(stage)
        if latencies is None:
            latencies = by_stage[stage] = Latencies()
        latencies.record(nanoseconds, weight)

    def _breathe(self) -> None:
        self._room.pulse()

    def _arrived(self, reader: Reader, nanoseconds: int) -> None:
        self._record("connect", 1, nanoseconds, 1)
        self._reactor.back(reader.number)

    def _dropped(self, reader: Reader, wanted: bool) -> None:
        if reader.token is not None:
            self._reactor.gone(reader.number, wanted=wanted)

    def _acked(self, reader: Reader, ack: Ack) -> None:
        self._reactor.acked(ack.ref if isinstance(ack.ref, int) else 0, ack, reader.number)

    def _refused(self, reader: Reader, error: Error) -> None:
        if isinstance(error.ref, int) and self._reactor.refuse(error.ref, error.code):
            return
        if reader.up:
            # Nobody asked, such as when a token was revoked: the connection goes on.
            return
        # It cannot watch, or nobody knows who it is: it comes again.
        reader.why = f"{error.code}: {error.message}"
        if reader.transport is not None:
            reader.transport.abort()

    # Pulse

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(PULSE)
            self._reactor.give_up(self._patience)
            self.say(self._tick())

    def _tick(self) -> Tick:
        reactor, crowd = self._reactor, self._crowd
        acked, reactor.news = reactor.news, []
        latencies = {
            name: {stage: one.encode() for stage, one in stages.items()}
            for name, stages in self._latencies.items()
        }
        self._latencies.clear()
        found, self._faults.found = self._faults.found, {}
        counters = {
            **reactor.counters,
            "updates": self._sightings.updates + self._room.untimed,
            "resets": self._room.resets,
            "reconnects": crowd.reconnects,
        }
        return Tick(
            at=now(),
            acked=acked,
            watermark=reactor.watermark,
            last_ack=reactor.last_ack,
            latencies=latencies,
            counters=counters,
            refused=dict(reactor.refused),
            failures=dict(crowd.failures),
            closed=dict(crowd.closed),
            late={stage: (every, late) for stage, (every, late) in reactor.late.items()},
            failed=dict(reactor.failed),
            up=crowd.up,
            under_way=len(reactor.book.under_way),
            waiting=reactor.waiting,
            cpu=time.process_time(),
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            faults=found,
        )

    def _go(self, work: Coroutine[Any, Any, None], *, stoppable: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.append(task)
        if stoppable:
            self._stoppable.append(task)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.say(ipc.Failed(f"a process of the harness failed: {error!r}"))
            raise
