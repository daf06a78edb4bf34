"""The parent process: the listener, the engine and the workers, in the order in which they need each other.

Owns the start, the restarts and the stop of a whole server. Must not know how requests are served; it never
accepts a connection itself.

Neither a worker outlives this process (see ``link``) nor the engine (see ``ledger.embedded``). Children run
in sessions of their own, so that Ctrl+C on a terminal reaches only this process, which then stops them in
turn: the workers first, while the engine still confirms what they write.

SIGTERM and SIGINT stop the server, SIGHUP reads the sites again, SIGUSR2 replaces the workers one by one.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable
from functools import partial

import structlog

from tallycast import __version__
from tallycast.config import sites as sites_file
from tallycast.config.engine_url import without_password
from tallycast.config.settings import Settings
from tallycast.contract.errors import SettingsError
from tallycast.engine.embedded.server import EmbeddedEngine
from tallycast.engine.preflight.requirements import SETTINGS
from tallycast.observability.measures import Snapshot
from tallycast.process import banner, heap
from tallycast.process.exporter import Listener as Metrics
from tallycast.process.listener import is_loopback, listen, listen_at, url
from tallycast.process.pool import MEASURE_WAIT, Worker
from tallycast.process.unix_socket import UnixListener, owner

# Of the time for stopping so much (s) is the engine's, which ends after the workers, and this process's own.
FOR_ENGINE, FOR_SELF = 1.0, 0.5

log = structlog.get_logger()


def run(settings: Settings) -> int:
    """Run a whole server until SIGTERM or SIGINT; returns the exit status.

    Raises:
        StartError: it cannot start.
    """
    status = asyncio.run(_Supervisor(settings).run())
    heap.skip_final_gc()
    return status


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener: socket.socket | None = None
        self._engine: EmbeddedEngine | None = None
        self._metrics: Metrics | None = None
        self._workers: list[Worker] = []
        self._replacing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        # When (monotonic clock) everything is to be over; None: nobody has told it to stop.
        self._until: float | None = None
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
        loop.add_signal_handler(signal.SIGUSR2, self._on_replace)
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
            self._until = time.monotonic() + self._settings.drain
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

    def _on_replace(self) -> None:
        """Replace every worker by a new one, unless that is being done or the server is not up yet."""
        if self._stopping.is_set():
            return
        if not self._workers or not all(worker.ready.is_set() for worker in self._workers):
            log.warning("workers are still starting; not replaced")
        elif self._replacing is not None and not self._replacing.done():
            log.warning("workers are being replaced already")
        else:
            self._replacing = asyncio.create_task(self._replace(), name="replace")

    async def _replace(self) -> None:
        """One after the other, so that all but one serve at any time, and the new one before the old goes."""
        log.info("replacing the workers", workers=len(self._workers))
        for worker in self._workers:
            try:
                if not await worker.replace():
                    return
            except OSError as error:
                log.error("a worker cannot be started; the others stay", reason=str(error))
                return
        log.info("all workers were replaced")

    def _read_sites(self) -> None:
        """Know what the file says.

        Raises:
            SettingsError: it is wrong.
        """
        path = self._settings.config
        if path is not None:
            text = sites_file.read(path)
            sites_file.sites(text, str(path))
            self._sites = text

    async def _work(self) -> None:
        """Bring everything up and keep it up; ends only by an error or when cancelled."""
        # The listener first: a port in use is the commonest mistake, and the clients of a server that
        # restarts wait in the backlog instead of being refused.
        self._listener = await self._listen()
        if self._sites is None and not is_loopback(self._listener):
            log.warning("no sites file: any page on the web may use this server; see --config")
        self._serve_metrics()
        settings = await self._with_engine()
        numbers = range(1, settings.workers + 1)
        self._workers = [Worker(number, self._listener.fileno(), settings, self._sites) for number in numbers]
        keepers = [asyncio.create_task(worker.keep()) for worker in self._workers]
        greeter = asyncio.create_task(self._greet(url(self._listener, self._settings.base_path)))
        try:
            await _until_one_fails(*keepers, greeter)
        finally:
            for task in (*keepers, greeter):
                task.cancel()
            await asyncio.gather(*keepers, greeter, return_exceptions=True)

    async def _listen(self) -> socket.socket:
        settings = self._settings
        path = settings.socket_path
        if path is None:
            return await listen(settings.host, settings.port)
        return await listen_at(path, int(settings.socket_mode, 8), owner(settings.socket_owner))

    async def _with_engine(self) -> Settings:
        """The settings as workers need them: with an engine that answers."""
        if self._settings.redis_url is not None:
            return self._settings
        if self._settings.replicas:
            raise SettingsError("--durability replica: the embedded engine has no replica; set REDIS_URL")
        self._engine = EmbeddedEngine(self._settings.data, self._settings.engine_memory)
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
        told = [answer for answer in answered if answer is not None]
        found.gauge("engine_up", {"": int(bool(told) and all(one.engine_up for one in told))})
        found.gauge("engine_writable", {"": int(bool(told) and all(one.engine_writable for one in told))})
        unsafe = {setting for one in told for setting in one.engine_unsafe}
        found.gauge("engine_unsafe", {setting: int(setting in unsafe) for setting in SETTINGS})
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
        if self._settings.prefix is not None:
            engine = f"{engine}, prefix {self._settings.prefix}"
        metrics = self._metrics.url if self._metrics is not None else None
        demo = self._settings.has_demo and self._settings.socket_path is None
        banner.show(address, engine, data, self._settings.workers, demo=demo, metrics=metrics)

    async def _shut_down(self) -> None:
        """End everything within the time that there is, by force if need be."""
        drain = self._settings.drain
        until = time.monotonic() + drain if self._until is None else self._until
        if self._listener is not None:
            if isinstance(self._listener, UnixListener):
                self._listener.remove()
            self._listener.close()  # When the workers close theirs too, new clients are refused.
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.gather(self._replacing, return_exceptions=True)
        of_workers = until - min(FOR_ENGINE, drain / 4)
        await asyncio.gather(*(worker.stop(of_workers) for worker in self._workers))
        rest: list[Awaitable[None]] = []
        if self._engine is not None:
            # To kill it would lose nothing: what was confirmed is on the disk.
            rest.append(self._engine.stop(max(until - FOR_SELF - time.monotonic(), FOR_SELF)))
        if self._metrics is not None:
            rest.append(asyncio.to_thread(self._metrics.close))
        await asyncio.gather(*rest)
        if self._stopping.is_set():
            log.info("stopped")


async def _until_one_fails(*tasks: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
