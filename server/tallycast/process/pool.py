"""The worker processes: started, kept up, replaced and stopped.

Owns the places that workers have, and the processes that fill them. Must not know what a worker serves, nor
of the engine. A worker never outlives this process: see ``link``.
"""

import asyncio
import os
import socket
import sys
import time
from typing import Any, NamedTuple, Self

import structlog

from tallycast.config.settings import Settings, pack
from tallycast.contract.errors import StartError
from tallycast.observability.measures import Snapshot
from tallycast.process import ipc

FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.1, 5.0, 10.0
# A worker that dies so often, so soon, before it was ever ready will not do better the next time.
EARLY, TOO_OFTEN = 10.0, 3
# A successor that is not ready by then (s) is not waited for.
READY_WITHIN = 30.0
# A worker that does not tell its numbers within this (s) is not waited for.
MEASURE_WAIT = 1.0
# Even who has no time to drain has a little (s) to end.
LEAST_PATIENCE = 1.0

_log = structlog.get_logger()


class End(NamedTuple):
    """How a process ended: its status, and the reason that it gave for not serving."""

    status: int
    failure: str | None


class Process:
    """One worker process. ``ready`` is set when it accepts connections; ``end`` is awaited for its end.

    ``told`` are the numbers that it told last.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self.ready = asyncio.Event()
        self.pid = process.pid
        self.told = Snapshot()
        self._log = _log.bind(worker=number)
        self._process = process
        self._socket = ours
        self._writer: asyncio.StreamWriter | None = None
        # What it was asked for and has not told yet.
        self._asked: asyncio.Future[None] | None = None
        self.end: asyncio.Task[End]

    @classmethod
    async def start(
        cls, number: int, listener: int, settings: Settings, sites: str | None, *, restarted: bool
    ) -> Self:
        """Start one on the shared listener, and tell it its sites and whether it replaces one that served."""
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: a folder named "server" where the operator happens to be is none of ours.
            command = [sys.executable, "-P", "-m", "tallycast.process.worker", str(number), str(listener)]
            if restarted:
                command.append(ipc.RESTARTED)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                pass_fds=(listener,),
                env={**os.environ, ipc.SETTINGS: pack(settings)},
                start_new_session=True,
            )
        started = cls(number, process, ours)
        reader, started._writer = await asyncio.open_connection(sock=ours)
        started.tell(sites)
        started.end = asyncio.create_task(started._hear(reader))
        return started

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def tell(self, sites: str | None) -> None:
        """What the sites file says."""
        if self._writer is not None:
            self._writer.write(ipc.sites_line(sites))

    async def measure(self) -> Snapshot | None:
        """Its numbers, if it answers in time."""
        if self._writer is None or not self.ready.is_set():
            return None
        # One that hangs is asked once, however often somebody wants to know.
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._writer.write(ipc.MEASURE)
        asked = self._asked
        either: set[asyncio.Future[Any]] = {asked, self.end}
        await asyncio.wait(either, timeout=MEASURE_WAIT, return_when=asyncio.FIRST_COMPLETED)
        return self.told if asked.done() else None

    def kill(self) -> None:
        """End it at once."""
        if self.runs:
            self._process.kill()

    async def stop(self, until: float) -> None:
        """Let it drain; it is killed when it still runs at ``until`` (monotonic clock)."""
        if self.runs:
            self._process.terminate()
            await asyncio.wait({self.end}, timeout=max(until - time.monotonic(), LEAST_PATIENCE))
            if self.runs:
                self._log.error("a worker does not stop; killing it", pid=self.pid)
                self.kill()
        await self.end

    async def _hear(self, reader: asyncio.StreamReader) -> End:
        failure = None
        try:
            async for line in reader:
                line = line.rstrip()
                if line == ipc.READY:
                    self.ready.set()
                elif line.startswith(ipc.MEASURED):
                    self.told = ipc.measured(line)
                    if self._asked is not None:
                        self._asked.set_result(None)
                        self._asked = None
                elif line.startswith(ipc.FAILED):
                    failure = line.removeprefix(ipc.FAILED).decode("utf-8", "replace")
        except ConnectionError:
            pass  # It ended before it had read what it was told.
        status = await self._process.wait()
        # Never earlier than the end of the process: to a worker the end of the link is the parent's death.
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return End(status, failure)


class Worker:
    """One place for a worker, and whichever process fills it. ``ready`` when one has served.

    ``restarts`` counts the processes that had to be started because one had died.
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
        # The current one; while it is replaced, its predecessor or its successor too.
        self._processes: list[Process] = []
        # The numbers of processes that are gone.
        self._past = Snapshot()

    async def keep(self) -> None:
        """Run one process after the other, more patiently each time one does not stay up.

        Raises:
            StartError: it never was ready, and there is no hope.
        """
        pause, early = FIRST_PAUSE, 0
        while True:
            started = time.monotonic()
            status, failure = await self._run_one()
            lived = time.monotonic() - started
            if not self.ready.is_set():
                early = early + 1 if lived < EARLY else 0
                self._give_up(status, failure, early)
            if lived >= STEADY_AFTER:
                pause = FIRST_PAUSE
            self._log.error("a worker died; starting another", status=status, reason=failure)
            self.restarts += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def replace(self) -> bool:
        """Let a new process take over, then drain the old one; ``False``: the new one does not serve."""
        successor = await self._start()
        ready = asyncio.create_task(successor.ready.wait())
        try:
            await asyncio.wait(
                {ready, successor.end}, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not successor.ready.is_set():
            successor.kill()
            status, failure = await self._ended(successor)
            self._log.error("the new worker does not serve; the old one stays", status=status, reason=failure)
            return False
        predecessor, self._current = self._current, successor
        if predecessor is not None:
            await predecessor.stop(time.monotonic() + self._settings.drain)
            await self._ended(predecessor)
        self._log.info("a worker was replaced", pid=successor.pid)
        return True

    def tell(self, sites: str | None) -> None:
        """The sites file was read again."""
        self._sites = sites
        for process in self._processes:
            process.tell(sites)

    async def measure(self, found: Snapshot) -> Snapshot | None:
        """Add what was counted in this place since the start; the process's own, if it answered in time."""
        current = self._current
        asking = {process: asyncio.create_task(process.measure()) for process in self._processes}
        if asking:
            await asyncio.wait(asking.values())
        found.add(self._past)
        for process in self._processes:
            found.add(process.told)
        return asking[current].result() if current in asking else None

    def kill(self) -> None:
        """End whatever runs at once."""
        for process in self._processes:
            process.kill()

    async def stop(self, until: float) -> None:
        """Let it finish what it does, until then (monotonic clock).

        ``keep`` and ``replace`` must be cancelled before.
        """
        await asyncio.gather(*(process.stop(until) for process in self._processes))

    async def _start(self) -> Process:
        given = self._number, self._listener, self._settings, self._sites
        process = await Process.start(*given, restarted=self.ready.is_set())
        self._processes.append(process)
        return process

    async def _run_one(self) -> End:
        """Fill the place, and wait until whoever fills it has died."""
        process = self._current = await self._start()
        is_back = self.ready.is_set()
        ready = asyncio.create_task(process.ready.wait())
        await asyncio.wait({ready, process.end}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if process.ready.is_set():
            self.ready.set()
            if is_back:
                self._log.info("a worker is back", pid=process.pid)
        await asyncio.shield(process.end)
        while process is not self._current:
            # It was replaced, and has left as it should.
            process = self._current
            await asyncio.shield(process.end)
        return await self._ended(process)

    async def _ended(self, process: Process) -> End:
        end = await asyncio.shield(process.end)
        if process in self._processes:
            self._processes.remove(process)
            # What it counted stays true, so that no counter ever falls.
            self._past.add(process.told, gauges=False)
        return end

    def _give_up(self, status: int, failure: str | None, early: int) -> None:
        if failure is not None:
            raise StartError(failure)
        if early >= TOO_OFTEN:
            raise StartError(
                f"worker {self._number} died {early} times before it was ready (the last time with status "
                f"{status}); the lines above say why"
            )
