"""A whole run, phase by phase: preparing, connecting, warming up, running, draining, checking.

Owns the order of the phases and the exchange between the processes. Does not depend on connections, nor on
how progress and results are shown.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic_ns as now

from tallycast_load.client import visitors
from tallycast_load.client.http import HttpClient
from tallycast_load.client.items import ItemReader, StoredItem
from tallycast_load.client.metrics import Metrics
from tallycast_load.client.target import Target
from tallycast_load.coordinator.observer import RunObserver
from tallycast_load.measure.updates import AckedReaction
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import Plan
from tallycast_load.processes import ipc, machine
from tallycast_load.processes.pool import WorkerPool
from tallycast_load.verdict import checks, generator, server_limits, verdict
from tallycast_load.verdict.checks import Evidence
from tallycast_load.verdict.totals import Totals
from tallycast_load.verdict.verdict import Step, Verdict

SECOND = 1_000_000_000
# Beyond the length of the ramp (s).
CONNECT_TIMEOUT = 30.0
DRAIN_TIMEOUT = 8.0
CONVERGE_WITHIN = 1.0
# The results of a stage are complete so much later (s).
STAGE_DELAY = 1.5
ACK_INTERVAL = 0.1
POLL_INTERVAL = 0.05
RECORD_DELAY = 2 * SECOND // 5


@dataclass
class Result:
    """The result of a run.

    ``start`` is when the schedule started (ns of the monotonic clock), ``measured`` how much of the measured
    time passed (s), ``cpu`` each process's share of a core.
    """

    plan: Plan
    url: str
    processes: int
    begun: float
    totals: Totals = field(default_factory=Totals)
    verdict: Verdict = field(default_factory=Verdict)
    start: int = 0
    measured: float = 0.0
    phase: str = "preparing"
    metrics: Metrics | None = None
    cpu: list[float] = field(default_factory=list)


class Run:
    """Executes a plan. ``token_key`` signs the visitors' tokens; ``metrics`` is scraped every second."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        observer: RunObserver,
        token_key: str | None,
        metrics: Metrics | None,
    ) -> None:
        self._plan = plan
        self._target = target
        self._observer = observer
        self._key = token_key
        self._metrics = metrics
        self._id = secrets.token_hex(4)
        self._shared = target.is_loopback
        self._count = machine.processes_for(plan, shared=self._shared)
        self.result = Result(plan, target.url, self._count, time.time(), metrics=metrics)
        self._totals = self.result.totals
        self._workers = WorkerPool(self._on_event)
        self._http = HttpClient(target, 8)
        self._reader = ItemReader(self._http, target, plan.site)
        self._token = ""
        self._kinds: list[str] = []
        self._acked_reactions: list[AckedReaction] = []
        self._prepared: dict[int, ipc.Prepared] = {}
        self._shown: dict[int, ipc.Shown] = {}
        self._audited: dict[int, ipc.Audited] = {}
        self._start = 0  # of the warm-up
        self._stages = plan.stages()
        self._cpu_before: dict[int, tuple[int, float]] = {}

    async def execute(self) -> Result:
        """Run all phases, and stop everything that was started.

        Raises:
            LoadError: the run cannot be executed.
        """
        helpers: list[asyncio.Task[None]] = []
        work = asyncio.create_task(self._work(helpers))
        try:
            await asyncio.wait({work, self._workers.failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._workers.failed.done():
                self._workers.failed.result()
            await work
        finally:
            for task in (work, *helpers):
                task.cancel()
            await asyncio.gather(work, *helpers, return_exceptions=True)
            await self._workers.stop()
            self._http.close()
        return self.result

    def interrupt(self) -> Result:
        """The partial result of a run that was cancelled."""
        self.result.verdict.interrupted = True
        self.result.verdict.threshold_results = verdict.judge(self._plan.threshold, self._totals)
        self.result.measured = self._measured()
        return self.result

    # The phases

    async def _work(self, helpers: "list[asyncio.Task[None]]") -> None:
        await self._prepare()
        helpers += [asyncio.create_task(self._broadcast_acks()), asyncio.create_task(self._sample_seconds())]
        await self._connect()
        await self._load()
        await self._drain()
        await self._check()

    async def _prepare(self) -> None:
        self._enter("preparing")
        machine.allow_files(machine.files_for(self._plan, self._count))
        if self._metrics is not None:
            await self._metrics.check()
        await self._read_kinds()
        await self._workers.start(
            [
                ipc.Begin(
                    number=number,
                    processes=self._count,
                    plan=self._plan.model_dump_json(),
                    url=self._target.url,
                    run=self._id,
                    kinds=self._kinds,
                    token_key=self._key,
                )
                for number in range(self._count)
            ]
        )
        await self._wait_for(
            lambda: sum(event.done for event in self._prepared.values()) == self._count,
            lambda: (sum(event.visitors for event in self._prepared.values()), self._plan.visitor_count),
        )

    async def _read_kinds(self) -> None:
        """Read the names of the site's reactions; this also shows that the server answers."""
        if self._key is not None:
            self._token = visitors.sign(self._key, self._plan.site, self._id, -1)
        else:
            (self._token,) = await visitors.create_visitors(
                self._http, self._target, self._plan.site, 1, lambda _: None
            )
        (first,) = await self._reader.read(self._items(1), self._token)
        self._kinds = list(first.counts)

    async def _connect(self) -> None:
        wanted = self._plan.connections
        self._enter("connecting", wanted / self._plan.ramp)
        at = now() + SECOND // 5
        self._start = at
        self._workers.broadcast(ipc.Open(at))
        deadline = at + int((wanted / self._plan.ramp + CONNECT_TIMEOUT) * SECOND)
        await self._wait_for(
            lambda: self._totals.sum("up") >= wanted or now() > deadline,
            lambda: (self._totals.sum("up"), wanted),
        )
        up = self._totals.sum("up")
        if up < wanted:
            reasons = self._totals.counted("failures").most_common(1)
            why = f": {reasons[0][0]} ({reasons[0][1]:,} times)" if reasons else ""
            advice = "".join(
                f"; {line}" for line in server_limits.connections(self._totals.counted("failures"))
            )
            raise LoadError(f"only {up:,} of {wanted:,} connections could be opened{why}{advice}")

    async def _load(self) -> None:
        warmup = self._plan.warmup
        self._start = self.result.start = at = now() + SECOND // 4
        self._workers.broadcast(ipc.Run(at))
        if warmup > 0:
            self._enter("warming up", warmup)
            await self._wait_until(at + int(warmup * SECOND), warmup)
        self._enter("running", self._plan.duration)
        self._cpu_before = {number: (tick.at, tick.cpu) for number, tick in self._totals.ticks.items()}
        if self._plan.steps is None:
            await self._wait_until(at + int((warmup + self._plan.duration) * SECOND), self._plan.duration)
        else:
            await self._run_steps(at)
        self.result.measured = self._measured()
        self.result.cpu = [
            (tick.cpu - self._cpu_before[number][1])
            / max(1e-9, (tick.at - self._cpu_before[number][0]) / 1e9)
            for number, tick in sorted(self._totals.ticks.items())
            if number in self._cpu_before
        ]

    async def _run_steps(self, start: int) -> None:
        """Raise the rate step by step, until a threshold is missed."""
        for stage in self._stages:
            if stage.number == 0:
                continue
            await self._wait_until(start + int((stage.end + STAGE_DELAY) * SECOND), self._plan.duration)
            step = Step(
                stage.rate,
                tuple(verdict.judge(self._plan.threshold, self._totals, [stage.number])),
                *self._totals.late([stage.number]),
            )
            self.result.verdict.steps.append(step)
            self._observer.step(step)
            if verdict.is_finished(self.result.verdict.steps):
                break

    async def _drain(self) -> None:
        self._enter("draining", DRAIN_TIMEOUT)
        self._workers.broadcast(ipc.Stop())
        stopped = now()
        deadline = stopped + int(DRAIN_TIMEOUT * SECOND)
        await self._wait_for(
            lambda: (
                now() > deadline
                or (
                    all(tick.at > stopped + SECOND // 10 for tick in self._totals.ticks.values())
                    and self._totals.sum("pending") == 0
                )
            ),
            lambda: (0, self._totals.sum("pending")),
        )

    async def _check(self) -> None:
        self._enter("checking")
        last_write = max((tick.last_ack for tick in self._totals.ticks.values()), default=0)
        await asyncio.sleep(max(0.0, (last_write - now()) / SECOND + CONVERGE_WITHIN))
        self._workers.broadcast(ipc.ReportShown())
        reported = now()
        await self._wait_for(lambda: len(self._shown) == self._count)
        store = await self._audit()
        # The last updates are recorded two ticks after they were received.
        ticks = self._totals.ticks
        await self._wait_for(lambda: all(tick.at > reported + RECORD_DELAY for tick in ticks.values()))
        self._judge(store)

    async def _audit(self) -> list[StoredItem]:
        """Read the store, and have every process compare its ledger with it; empty when it cannot be read."""
        # The server may have died under the load: what was measured until then is still reported.
        try:
            store = await self._reader.read(self._items(), self._token)
        except LoadError as error:
            self.result.verdict.unread = str(error)
            return []
        self._workers.broadcast(ipc.Audit())
        await self._wait_for(lambda: len(self._audited) == self._count)
        self.result.verdict.unread = next(
            (audited.unread for audited in self._audited.values() if audited.unread), ""
        )
        return store

    def _judge(self, store: list[StoredItem]) -> None:
        result, totals = self.result.verdict, self._totals
        evidence = Evidence(
            items=self._items(),
            kinds=self._kinds,
            store=store,
            audited=list(self._audited.values()),
            shown=list(self._shown.values()),
            violations=totals.violations,
            closed=totals.counted("closed"),
            answered=totals.count("acked") + sum(totals.counted("refused").values()),
        )
        trusted = [stage.number for stage in self._stages if stage.number]
        if self._plan.steps is not None:
            # A step may have failed because of the generator: only those that held are trusted.
            trusted = [number for number, step in enumerate(result.steps, 1) if step.held] or [1]
        else:
            result.threshold_results = verdict.judge(self._plan.threshold, totals)
        result.complaints = generator.complaints(
            *totals.late(trusted),
            self.result.cpu if self._plan.steps is None else [],
            machine.cores(),
            shared=self._shared,
        )
        result.checks = checks.judge(evidence)
        if result.unread:
            result.checks = checks.without_store(result.checks)
        if result.complaints:
            result.checks = checks.without_lateness(result.checks, totals.violations)

    # Helpers

    def _items(self, number: int | None = None) -> list[str]:
        return [f"load/{self._id}/{item}" for item in range(number or self._plan.items)]

    def _measured(self) -> float:
        passed = (now() - self._start) / SECOND - self._plan.warmup
        return min(max(0.0, passed), self._plan.duration) if self.result.phase != "connecting" else 0.0

    def _enter(self, name: str, seconds: float | None = None) -> None:
        self.result.phase = name
        self._observer.phase(name, seconds)

    def _on_event(self, number: int, event: ipc.EVENT) -> None:
        match event:
            case ipc.Tick():
                self._totals.add(number, event)
                self._acked_reactions += event.acked
            case ipc.Prepared():
                self._prepared[number] = event
            case ipc.Shown():
                self._shown[number] = event
            case ipc.Audited():
                self._audited[number] = event

    async def _broadcast_acks(self) -> None:
        """Send every process what was acknowledged in any."""
        while True:
            await asyncio.sleep(ACK_INTERVAL)
            ticks = self._totals.ticks.values()
            if len(ticks) == self._count:
                acked, self._acked_reactions = self._acked_reactions, []
                self._workers.broadcast(ipc.Acked(acked, min(tick.watermark for tick in ticks)))

    async def _sample_seconds(self) -> None:
        """Add a point to the report every second."""
        while True:
            await asyncio.sleep(1.0 - time.monotonic() % 1.0)
            moment = self._totals.moment(self.result.phase, self._start, now(), self._rate())
            self._observer.moment(moment, self._totals)
            if self._metrics is not None:
                await self._metrics.scrape(moment.at)

    def _rate(self) -> float:
        """The scheduled rate at this moment."""
        if self.result.phase not in ("warming up", "running"):
            return 0.0
        at = (now() - self._start) / SECOND
        return next((stage.rate for stage in self._stages if stage.start <= at < stage.end), 0.0)

    async def _wait_until(self, moment: int, length: float) -> None:
        begun = moment - int(length * SECOND)
        await self._wait_for(lambda: now() >= moment, lambda: ((now() - begun) / SECOND, length))

    async def _wait_for(
        self, condition: Callable[[], bool], progress: Callable[[], tuple[float, float]] | None = None
    ) -> None:
        while not condition():
            if progress is not None:
                self._observer.progress(*progress())
            await asyncio.sleep(POLL_INTERVAL)
