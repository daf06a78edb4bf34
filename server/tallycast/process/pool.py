"""The worker pool: starts, restarts, replaces and stops worker processes.

Owns the workers, and the processes that run them. Does not depend on what a worker serves, nor on the engine.
A worker never outlives this process: see ``ipc``.
"""

import asyncio
import os
import socket
import sys
import time
from typing import Any, NamedTuple, Self

import structlog

from tallycast.config.errors import StartError
from tallycast.config.settings import Settings, pack
from tallycast.observability.measures import Snapshot
from tallycast.process import ipc

# Backoff (s) between restarts, and the uptime that resets it.
MIN_BACKOFF, MAX_BACKOFF, STABLE_UPTIME = 0.1, 5.0, 10.0
# The start fails when a worker that was never ready dies this many times within this uptime (s).
EARLY_UPTIME, MAX_EARLY_DEATHS = 10.0, 3
# Timeouts in seconds: of a successor until it is ready, of a worker's metrics, of a worker's end at least.
READY_TIMEOUT = 30.0
MEASURE_TIMEOUT = 1.0
MIN_STOP_TIMEOUT = 1.0

_log = structlog.get_logger()


class End(NamedTuple):
    """How a process ended: its exit status, and its reason for not starting."""

    status: int
    failure: str | None


class Process:
    """One worker process. ``ready`` is set when it accepts connections; await ``end`` for its end.

    ``snapshot`` has the metrics that it sent last.
    """

    def __init__(
        self,
        number: int,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.ready = asyncio.Event()
        self.pid = process.pid
        self.snapshot = Snapshot()
        self._log = _log.bind(worker=number)
        self._process = process
        # None after the end of the process.
        self._writer: asyncio.StreamWriter | None = writer
        # A request for metrics that is not answered yet.
        self._measuring: asyncio.Future[None] | None = None
        self.end = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(
        cls, number: int, listener: int, settings: Settings, sites: str | None, *, restarted: bool
    ) -> Self:
        """Start a process on the shared listener; ``restarted``: it replaces one that was ready."""
        parent_end, child_end = socket.socketpair()
        with child_end:
            # -P: do not import a package called tallycast from the current folder.
            command = [sys.executable, "-P", "-m", "tallycast.process.worker", str(number), str(listener)]
            if restarted:
                command.append(ipc.RESTARTED)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=child_end.fileno(),
                pass_fds=(listener,),
                env={**os.environ, ipc.SETTINGS: pack(settings)},
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=parent_end)
        started = cls(number, process, reader, writer)
        started.send_sites(sites)
        return started

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def send_sites(self, sites: str | None) -> None:
        """Send the text of the sites file."""
        if self._writer is not None:
            self._writer.write(ipc.sites_line(sites))

    async def measure(self) -> Snapshot | None:
        """Its metrics, if it answers in time."""
        if self._writer is None or not self.ready.is_set():
            return None
        # A process that hangs gets one request, however many scrapes there are.
        if self._measuring is None:
            self._measuring = asyncio.get_running_loop().create_future()
            self._writer.write(ipc.MEASURE)
        measuring = self._measuring
        either: set[asyncio.Future[Any]] = {measuring, self.end}
        await asyncio.wait(either, timeout=MEASURE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        return self.snapshot if measuring.done() else None

    def kill(self) -> None:
        """End it at once."""
        if self.running:
            self._process.kill()

    async def stop(self, until: float) -> None:
        """Let it drain; kill it if it still runs at ``until`` (monotonic clock)."""
        if self.running:
            self._process.terminate()
            await asyncio.wait({self.end}, timeout=max(until - time.monotonic(), MIN_STOP_TIMEOUT))
            if self.running:
                self._log.error("worker killed", reason="did not stop in time", pid=self.pid)
                self.kill()
        await self.end

    async def _read(self, reader: asyncio.StreamReader) -> End:
        failure = None
        try:
            async for line in reader:
                line = line.rstrip()
                if line == ipc.READY:
                    self.ready.set()
                elif line.startswith(ipc.MEASURED):
                    self.snapshot = ipc.measured(line)
                    if self._measuring is not None:
                        self._measuring.set_result(None)
                        self._measuring = None
                elif line.startswith(ipc.FAILED):
                    failure = line.removeprefix(ipc.FAILED).decode("utf-8", "replace")
        except ConnectionError:
            pass  # It ended before it had read all messages.
        status = await self._process.wait()
        # Not before the end of the process: a worker takes the end of the stream for the end of its parent.
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return End(status, failure)


class Worker:
    """A worker: one process at a time, two while it is replaced. ``ready`` is set once one was ready.

    ``restarts`` counts the processes that were started because one had died.
    """

    def __init__(self, number: int, listener: int, settings: Settings, sites: str | None) -> None:
        self.ready = asyncio.Event()
        self.restarts = 0
        self._number = number
        self._listener = listener
        self._settings = settings
        self._sites = sites
        self._log = _log.bind(worker=number)
        self._current: Process | None = None
        # The current one, and while it is replaced its predecessor or successor.
        self._processes: list[Process] = []
        # The counters of processes that have ended.
        self._ended_counters = Snapshot()

    async def run(self) -> None:
        """Run processes, one after another, with a backoff between restarts; ends when cancelled.

        Raises:
            StartError: none was ever ready.
        """
        backoff, early = MIN_BACKOFF, 0
        while True:
            started = time.monotonic()
            status, failure = await self._run_one()
            uptime = time.monotonic() - started
            if not self.ready.is_set():
                early = early + 1 if uptime < EARLY_UPTIME else 0
                self._check_start(status, failure, early)
            if uptime >= STABLE_UPTIME:
                backoff = MIN_BACKOFF
            self._log.error("worker died", status=status, reason=failure)
            self.restarts += 1
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF)

    async def replace(self) -> bool:
        """Start a successor, then drain the current process; False: the successor was not ready."""
        successor = await self._start()
        ready = asyncio.create_task(successor.ready.wait())
        try:
            await asyncio.wait(
                {ready, successor.end}, timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not successor.ready.is_set():
            successor.kill()
            status, failure = await self._ended(successor)
            self._log.error("worker not replaced", status=status, reason=failure or "not ready")
            return False
        predecessor, self._current = self._current, successor
        if predecessor is not None:
            await predecessor.stop(time.monotonic() + self._settings.drain)
            await self._ended(predecessor)
        self._log.info("worker replaced", pid=successor.pid)
        return True

    def update_sites(self, sites: str | None) -> None:
        """Send the text of a reloaded sites file to its processes, and to later ones."""
        self._sites = sites
        for process in self._processes:
            process.send_sites(sites)

    async def measure(self, total: Snapshot) -> Snapshot | None:
        """Add all that this worker has counted to ``total``; its current metrics, if it answers in time."""
        current = self._current
        requests = {process: asyncio.create_task(process.measure()) for process in self._processes}
        if requests:
            await asyncio.wait(requests.values())
        total.add(self._ended_counters)
        for process in self._processes:
            total.add(process.snapshot)
        return requests[current].result() if current in requests else None

    def kill(self) -> None:
        """End its processes at once."""
        for process in self._processes:
            process.kill()

    async def stop(self, until: float) -> None:
        """Drain its processes until then (monotonic clock).

        ``run`` and ``replace`` must be cancelled before.
        """
        await asyncio.gather(*(process.stop(until) for process in self._processes))

    async def _start(self) -> Process:
        process = await Process.start(
            self._number, self._listener, self._settings, self._sites, restarted=self.ready.is_set()
        )
        self._processes.append(process)
        return process

    async def _run_one(self) -> End:
        """Start a process, and wait until it, or the last of its successors, has ended."""
        process = self._current = await self._start()
        restarted = self.ready.is_set()
        ready = asyncio.create_task(process.ready.wait())
        await asyncio.wait({ready, process.end}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if process.ready.is_set():
            self.ready.set()
            if restarted:
                self._log.info("worker restarted", pid=process.pid)
        await asyncio.shield(process.end)
        while process is not self._current:
            # It ended because it was replaced.
            process = self._current
            await asyncio.shield(process.end)
        return await self._ended(process)

    async def _ended(self, process: Process) -> End:
        end = await asyncio.shield(process.end)
        if process in self._processes:
            self._processes.remove(process)
            # Kept, so that no counter ever decreases.
            self._ended_counters.add(process.snapshot, gauges=False)
        return end

    def _check_start(self, status: int, failure: str | None, early: int) -> None:
        if failure is not None:
            raise StartError(failure)
        if early >= MAX_EARLY_DEATHS:
            raise StartError(
                f"worker {self._number} died {early} times before it was ready (last status: {status}); "
                "see the log lines above"
            )
