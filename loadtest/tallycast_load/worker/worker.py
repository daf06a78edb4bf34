"""The work of one process of the harness: its share of the connections and reactions.

Owns the wiring of its parts, and the events sent to the coordinator. Does not depend on how messages travel.
"""

import asyncio
import gc
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic_ns as now
from typing import Any

from tallycast.contract.messages import Ack, Error

from tallycast_load.client import visitors
from tallycast_load.client.codec import CODECS
from tallycast_load.client.http import HttpClient
from tallycast_load.client.items import ItemReader
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Connection, ConnectionContext
from tallycast_load.connections.event_stream import EventStreamConnection
from tallycast_load.connections.pool import ConnectionPool
from tallycast_load.connections.websocket import WebSocketConnection
from tallycast_load.measure.latency import Latencies
from tallycast_load.measure.updates import AckedReaction, UpdateLatencies
from tallycast_load.measure.violations import Violations
from tallycast_load.plan import schedule
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import Plan
from tallycast_load.plan.spread import Picker
from tallycast_load.processes import ipc, machine
from tallycast_load.processes.ipc import Begin, Command, Event, Tick
from tallycast_load.reactions.ledger import SentReaction
from tallycast_load.reactions.scheduler import TIMEOUT, ReactionScheduler, Sender
from tallycast_load.reactions.senders import HttpSender, WebSocketSender
from tallycast_load.worker.audit import Auditor

TICK = 0.2  # s
TOKEN_CONNECTIONS = 8
# How long the last reactions are waited for (ns).
LAST_TIMEOUT = 5_000_000_000
TRIM_EVERY = 5_000_000_000  # ns


class Worker:
    """One worker process. ``emit`` sends an event to the coordinator."""

    def __init__(self, begin: Begin, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._begin = begin
        self._plan = Plan.model_validate_json(begin.plan)
        self._target = Target.parse(begin.url)
        self._items = [f"load/{begin.run}/{number}" for number in range(self._plan.items)]
        self._violations = Violations()
        self._latencies: defaultdict[str, dict[int, Latencies]] = defaultdict(dict)
        self._update_latencies = UpdateLatencies(
            lambda stage, ns, weight: self._record("update", stage, ns, weight),
            lambda: self._context.send_if_due(),  # noqa: PLW0108  the context is made later
        )
        self._pool = ConnectionPool(
            self._target,
            self._target.sources(self._plan.connections),
            self._violations,
            self._on_ready,
            self._on_dropped,
        )
        self._context = self._make_context()
        self._http = HttpClient(self._target)
        self._tokens: dict[int, str] = {}
        self._scheduler = ReactionScheduler(
            self._context,
            begin.kinds,
            self._make_sender(),
            lambda stage, ns: self._record("ack", stage, ns, 1),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._load_tasks: list[asyncio.Task[None]] = []
        self._timeout = TIMEOUT
        self._trimmed = now()
        machine.allow_files(machine.files_for(self._plan, begin.processes))

    def _make_context(self) -> ConnectionContext:
        return ConnectionContext(
            uri=self._target.websocket(self._plan.site),
            site=self._plan.site,
            codec=CODECS[self._plan.protocol],
            items=self._items,
            update_latencies=self._update_latencies,
            violations=self._violations,
            on_ready=self._pool.on_ready,
            on_lost=self._pool.on_lost,
            on_ack=self._on_ack,
            on_error=self._on_error,
        )

    def _make_sender(self) -> Sender:
        connections = self._pool.connections
        if self._plan.transport == "sse":
            return HttpSender(
                connections, self._context, self._http, self._target, self._tokens, self._on_http_answer
            )
        return WebSocketSender(connections, self._context)

    async def prepare(self) -> None:
        """Get tokens for this process's visitors, and create its connections."""
        plan, begin = self._plan, self._begin
        mine = range(begin.number, plan.visitor_count, begin.processes)
        if begin.token_key is not None:
            tokens = [visitors.sign(begin.token_key, plan.site, begin.run, visitor) for visitor in mine]
        else:
            http = HttpClient(self._target, TOKEN_CONNECTIONS)
            tokens = await visitors.create_visitors(
                http, self._target, plan.site, len(mine), lambda done: self._emit(ipc.Prepared(done, False))
            )
            http.close()
        self._tokens.update(zip(mine, tokens, strict=True))
        picker = Picker(plan.spread, plan.items)
        self._pool.add(
            self._make_connection(number, schedule.watched(number, plan.watch, picker, plan.seed))
            for number in range(begin.number, plan.connections, begin.processes)
        )
        self._emit(ipc.Prepared(len(mine), True))
        self._start(self._send_ticks())

    def _make_connection(self, number: int, items: list[int]) -> Connection:
        slow = number >= self._plan.regular_connections
        if self._plan.transport == "sse":
            return EventStreamConnection(self._context, self._target, number, items, slow)
        return WebSocketConnection(self._context, number, items, self._tokens.get(number), slow)

    def execute(self, command: Command) -> None:
        """Execute a command of the coordinator."""
        match command:
            case ipc.Open(at):
                self._start(self._pool.open_all(at, self._plan.ramp))
            case ipc.Run(at):
                self._run(at)
            case ipc.Acked(acked, watermark):
                self._add_acked(acked, watermark)
            case ipc.Stop():
                self._stop()
            case ipc.ReportShown():
                newest = self._context.newest.items()
                counts = {item: (update.version, update.counts) for item, update in newest}
                self._emit(ipc.Shown(self._pool.shown_versions(), counts))
            case ipc.Audit():
                self._start(self._audit())

    def close(self) -> None:
        """Stop the load and close all connections."""
        for task in self._tasks:
            task.cancel()
        self._scheduler.stop()
        self._pool.close()
        self._http.close()

    # Commands

    def _run(self, at: int) -> None:
        # What exists now stays: the garbage collector need not scan it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        plan = self._plan
        stages = plan.stages()
        self._scheduler.start(self._due_reactions(stages), at)
        end = stages[-1].end
        storms = [plan.warmup + storm for storm in plan.storms]
        if plan.churn or storms:
            drops = schedule.drops(plan.connections, plan.churn, end, storms, plan.seed)
            self._start(self._pool.drop_all(drops, at, plan.ramp), load=True)
        if plan.slow_connections:
            self._start(self._pool.run_slow(), load=True)

    def _due_reactions(self, stages: list[schedule.Stage]) -> Iterator[schedule.DueReaction]:
        plan, begin = self._plan, self._begin
        population = schedule.Population(plan.visitor_count, plan.items, plan.spread)
        reactions = schedule.reactions(stages, population, plan.seed, poisson=plan.arrivals == "poisson")
        return (due for due in reactions if due.visitor % begin.processes == begin.number)

    def _add_acked(self, acked: list[AckedReaction], watermark: int) -> None:
        for reaction in acked:
            self._update_latencies.add_reaction(reaction)
        moment = now()
        for update in self._update_latencies.record_until(watermark, moment):
            self._context.forget(update)
        if moment - self._trimmed > TRIM_EVERY:
            self._trimmed = moment
            self._update_latencies.trim(moment)

    def _stop(self) -> None:
        self._scheduler.stop()
        self._timeout = LAST_TIMEOUT
        for task in self._load_tasks:
            task.cancel()
        self._pool.resume_slow()

    async def _audit(self) -> None:
        reader = ItemReader(self._http, self._target, self._plan.site)
        auditor = Auditor(reader, self._items, self._tokens.get)
        try:
            self._emit(await auditor.compare(self._scheduler.ledger))
        except LoadError as error:
            self._emit(ipc.Audited(0, 0, [], {}, unread=str(error)))

    # Callbacks of the parts

    def _record(self, distribution: str, stage: int, nanoseconds: int, weight: int) -> None:
        by_stage = self._latencies[distribution]
        latencies = by_stage.get(stage)
        if latencies is None:
            latencies = by_stage[stage] = Latencies()
        latencies.record(nanoseconds, weight)

    def _on_ready(self, connection: Connection, nanoseconds: int) -> None:
        self._record("connect", 1, nanoseconds, 1)
        self._scheduler.on_connected(connection.number)

    def _on_dropped(self, connection: Connection, intentional: bool) -> None:
        if connection.token is not None:
            self._scheduler.on_disconnected(connection.number, intentional=intentional)

    def _on_ack(self, connection: Connection, ack: Ack) -> None:
        self._scheduler.on_ack(ack.ref if isinstance(ack.ref, int) else 0, ack, connection.number)

    def _on_error(self, connection: Connection, error: Error) -> None:
        if isinstance(error.ref, int) and self._scheduler.on_error(error.ref, error.code):
            return
        if connection.up:
            # Not an answer, such as when a token was revoked: the connection continues.
            return
        # Its auth or watch was refused: it reconnects.
        connection.failure = f"{error.code}: {error.message}"
        if connection.transport is not None:
            connection.transport.abort()

    def _on_http_answer(self, ref: int, sent: SentReaction, answer: Ack | str | None) -> None:
        if answer is None:
            self._scheduler.on_answer_lost(ref)
        elif ref not in self._scheduler.ledger.pending:
            return  # It has expired.
        elif isinstance(answer, Ack):
            self._scheduler.on_ack(ref, answer, sent.visitor)
        else:
            self._scheduler.on_error(ref, answer)

    # Ticks

    async def _send_ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._scheduler.expire(self._timeout)
            self._emit(self._tick())

    def _tick(self) -> Tick:
        scheduler, pool = self._scheduler, self._pool
        acked, scheduler.acked_reactions = scheduler.acked_reactions, []
        latencies = {
            name: {stage: one.encode() for stage, one in stages.items()}
            for name, stages in self._latencies.items()
        }
        self._latencies.clear()
        violations, self._violations.found = self._violations.found, {}
        counters = {
            **scheduler.counters,
            "updates": self._update_latencies.updates + self._context.untimed,
            "resets": self._context.resets,
            "reconnects": pool.reconnects,
        }
        return Tick(
            at=now(),
            acked=acked,
            watermark=scheduler.watermark,
            last_ack=scheduler.last_ack,
            latencies=latencies,
            counters=counters,
            refused=dict(scheduler.refused),
            failures=dict(pool.failures),
            closed=dict(pool.closed),
            late={stage: (every, late) for stage, (every, late) in scheduler.late.items()},
            failed=dict(scheduler.failed),
            up=pool.up,
            pending=len(scheduler.ledger.pending),
            waiting=scheduler.waiting,
            cpu=time.process_time(),
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            violations=violations,
        )

    def _start(self, work: Coroutine[Any, Any, None], *, load: bool = False) -> None:
        """Start a task; ``load``: it ends with the load."""
        task = asyncio.get_running_loop().create_task(self._report_failure(work))
        self._tasks.append(task)
        if load:
            self._load_tasks.append(task)

    async def _report_failure(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._emit(ipc.Failed(f"a process of the harness failed: {error!r}"))
            raise
