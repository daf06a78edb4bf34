"""The parent process: the listener, the engine and the workers, in the order in which they need each other.

Owns the start, the restarts and the stop of a whole server. Must not know how requests are served; it never
accepts a connection itself.

A worker never outlives this process (see ``link``), nor does the engine (see ``ledger.embedded``). Children
run in sessions of their own, so that Ctrl+C on a terminal reaches only this process, which then stops them
in turn: the workers first, while the engine still confirms what they write.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from functools import partial

import structlog

from server import __version__, banner, config, link
from server.errors import SettingsError, StartError
from server.ledger.embedded import EmbeddedEngine
from server.listener import is_loopback, listen, url
from server.measures import Snapshot
from server.metrics import Listener as Metrics
from server.settings import Settings, pack, without_password

log = structlog.get_logger()

STOP_WAIT = 10.0  # for a worker to finish what it does
FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.1, 5.0, 10.0
# A worker that does not tell its numbers within this (s) is not waited for.
MEASURE_WAIT = 1.0
# A worker that dies so often, so soon, before it was ever ready will not do better the next time.
EARLY, TOO_OFTEN = 10.0, 3


def run(settings: Settings) -> int:
    """Run a whole server until SIGTERM or SIGINT; returns the exit status.

    Raises:
        StartError: it cannot start.
    """
    return asyncio.run(_Supervisor(settings).run())


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener: socket.socket | None = None
        self._engine: EmbeddedEngine | None = None
        self._metrics: Metrics | None = None
        self._workers: list[_Worker] = []
        self._stopping = asyncio.Event()
        # What the sites file said when it was last found to be right; None: there is no file.
        self._sites: str | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        self._read_sites()
        # Without a file it means what it always does: the terminal is gone, and so must this be.
        hang_up = self._on_hang_up if self._settings.config else partial(self._on_signal, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        work = asyncio.create_task(self._work(), name="server")
        told_to_stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            told_to_stop.cancel()
            await asyncio.gather(work, told_to_stop, return_exceptions=True)
            await self._shut_down()
        if not work.cancelled():
            work.result()  # Raises: it does not end in any other way.
        return 0

    def _on_signal(self, number: int) -> None:
        if not self._stopping.is_set():
            log.info("stopping; a second signal stops at once", signal=signal.Signals(number).name)
            self._stopping.set()
            return
        for worker in self._workers:
            worker.kill()
        if self._engine is not None:
            self._engine.kill()

    def _on_hang_up(self) -> None:
        """Read the sites again; what is served changes only when all of the file is right."""
        try:
            self._read_sites()
        except SettingsError as error:
            log.error("sites not read again, nothing changes", reason=str(error))
            return
        for worker in self._workers:
            worker.tell(self._sites)
        log.info("sites read again", file=str(self._settings.config))

    def _read_sites(self) -> None:
        """Know what the file says.

        Raises:
            SettingsError: it is wrong.
        """
        path = self._settings.config
        if path is not None:
            text = config.read(path)
            config.sites(text, str(path))
            self._sites = text

    async def _work(self) -> None:
        """Bring everything up and keep it up; ends only by an error or when cancelled."""
        # The listener first: a port in use is the commonest mistake, and the clients of a server that
        # restarts wait in the backlog instead of being refused.
        self._listener = await listen(self._settings.host, self._settings.port)
        if self._sites is None and not is_loopback(self._listener):
            log.warning("no sites file: any page on the web may use this server; see --config")
        self._serve_metrics()
        settings = await self._with_engine()
        numbers = range(1, settings.workers + 1)
        self._workers = [
            _Worker(number, self._listener.fileno(), settings, self._sites) for number in numbers
        ]
        keepers = [asyncio.create_task(worker.keep()) for worker in self._workers]
        greeter = asyncio.create_task(self._greet(url(self._listener)))
        try:
            await _until_one_fails(*keepers, greeter)
        finally:
            for task in (*keepers, greeter):
                task.cancel()
            await asyncio.gather(*keepers, greeter, return_exceptions=True)

    async def _with_engine(self) -> Settings:
        """The settings as workers need them: with an engine that answers."""
        if self._settings.redis_url is not None:
            return self._settings
        self._engine = EmbeddedEngine(self._settings.data)
        await self._engine.start()
        return self._settings.model_copy(update={"redis_url": self._engine.url})

    def _serve_metrics(self) -> None:
        port = self._settings.metrics_port
        if port is not None:
            loop = asyncio.get_running_loop()

            def look() -> Snapshot:
                return asyncio.run_coroutine_threadsafe(self._measure(), loop).result(2 * MEASURE_WAIT)

            self._metrics = Metrics(self._settings.metrics_host, port, look)

    async def _measure(self) -> Snapshot:
        """What all workers have counted, and what is known of them here."""
        found = Snapshot()
        answered = await asyncio.gather(*(worker.measure(found) for worker in self._workers))
        up = {str(number): int(answer is not None) for number, answer in enumerate(answered, 1)}
        heard = [answer.engine_up for answer in answered if answer is not None]
        found.gauge("engine_up", {"": int(bool(heard) and all(heard))})
        found.gauge("worker_up", up)
        found.count("worker_restarts", {"": sum(worker.restarts for worker in self._workers)})
        found.gauge("build_info", {__version__: 1})
        return found

    async def _greet(self, address: str) -> None:
        for worker in self._workers:
            await worker.ready.wait()
        if self._engine is None:
            engine, data = without_password(self._settings.redis_url or ""), None
        else:
            engine, data = (
                f"embedded {self._engine.version}, every write synced",
                str(self._settings.data.absolute()),
            )
        metrics = self._metrics.url if self._metrics is not None else None
        demo = self._settings.has_demo
        banner.show(address, engine, data, self._settings.workers, demo=demo, metrics=metrics)

    async def _shut_down(self) -> None:
        if self._listener is not None:
            self._listener.close()  # When the workers close theirs too, new clients are refused.
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        if self._engine is not None:
            await self._engine.stop()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        if self._stopping.is_set():
            log.info("stopped")


class _Worker:
    """One place for a worker process, and whichever process fills it."""

    def __init__(self, number: int, listener: int, settings: Settings, sites: str | None) -> None:
        self.ready = asyncio.Event()
        self.restarts = 0
        self._number = number
        self._listener = listener
        self._settings = settings
        self._sites = sites
        self._log = log.bind(worker=number)
        self._process: asyncio.subprocess.Process | None = None
        self._link: asyncio.StreamWriter | None = None
        # The numbers of processes that are gone, and what the present one told last.
        self._past = Snapshot()
        self._told = Snapshot()
        # What it was asked for and has not told yet.
        self._asked: asyncio.Future[Snapshot] | None = None
        self._serving = False

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

    def tell(self, sites: str | None) -> None:
        """The sites file was read again."""
        self._sites = sites
        if self._link is not None:
            self._link.write(link.sites_line(sites))

    async def measure(self, found: Snapshot) -> Snapshot | None:
        """Add what was counted in this place since the start; the process's own, if it answered in time."""
        answer = await self._ask()
        found.add(self._past)
        found.add(self._told)
        return answer

    async def _ask(self) -> Snapshot | None:
        if not self._serving or self._link is None:
            return None
        # One that hangs is asked once, however often somebody wants to know.
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._link.write(link.MEASURE)
        asked = self._asked
        await asyncio.wait([asked], timeout=MEASURE_WAIT)
        return asked.result() if asked.done() and not asked.cancelled() else None

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Let the process finish what it does, for a while. ``keep`` must be cancelled before."""
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_WAIT)
            except TimeoutError:
                self._log.error("a worker does not stop; killing it", pid=process.pid)
                process.kill()
                await process.wait()
        self._drop_link()

    async def _run_one(self) -> tuple[int, str | None]:
        """The exit status of one process, and the reason that it gave for not serving."""
        self._process, reader = await self._spawn()
        failure = None
        self._serving = False
        try:
            async for line in reader:
                line = line.rstrip()
                if line == link.READY:
                    if self.ready.is_set():
                        self._log.info("a worker is back", pid=self._process.pid)
                    self.ready.set()
                    self._serving = True
                elif line.startswith(link.MEASURED):
                    self._told = link.measured(line)
                    if self._asked is not None:
                        self._asked.set_result(self._told)
                        self._asked = None
                elif line.startswith(link.FAILED):
                    failure = line.removeprefix(link.FAILED).decode("utf-8", "replace")
        except ConnectionError:
            pass  # It ended before it had read what it was told.
        status = await self._process.wait()
        self._drop_link()
        self._forget()
        return status, failure

    def _forget(self) -> None:
        """The process is gone. What it counted stays true, so that no counter ever falls."""
        self._past.add(self._told, gauges=False)
        self._told, self._serving = Snapshot(), False
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, self._link = await asyncio.open_connection(sock=ours)
            self._link.write(link.sites_line(self._sites))
            # -P: a folder named "server" where the operator happens to be is none of ours.
            command = [sys.executable, "-P", "-m", "server.worker", str(self._number), str(self._listener)]
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                pass_fds=(self._listener,),
                env={**os.environ, link.SETTINGS: pack(self._settings)},
                start_new_session=True,
            )
        return process, reader

    def _give_up(self, status: int, failure: str | None, early: int) -> None:
        if failure is not None:
            raise StartError(failure)
        if early >= TOO_OFTEN:
            raise StartError(
                f"worker {self._number} died {early} times before it was ready (the last time with status "
                f"{status}); the lines above say why"
            )

    def _drop_link(self) -> None:
        # Never earlier than the end of the process: to a worker the end of the link is the parent's death.
        if self._link is not None:
            self._link.close()
            self._link = None


async def _until_one_fails(*tasks: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
