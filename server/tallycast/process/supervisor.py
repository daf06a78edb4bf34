"""The supervisor, the parent process: starts the listener, the engine and the workers in this order.

Owns the start, the restarts and the shutdown of a whole server. Does not depend on how requests are served;
it never accepts a connection itself.

Neither a worker (see ``ipc``) nor the engine (see ``engine.embedded``) outlives this process. Children run in
sessions of their own, so that Ctrl+C on a terminal reaches only this process, which then stops them in order:
the workers first, while the engine still confirms what they write.

SIGTERM and SIGINT stop the server, SIGHUP reloads the sites file, SIGUSR2 replaces the workers one by one.
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
from tallycast.config.errors import SettingsError
from tallycast.config.settings import Settings
from tallycast.engine.embedded.server import EmbeddedEngine
from tallycast.engine.preflight.requirements import SETTINGS
from tallycast.observability.measures import Snapshot
from tallycast.process import banner, heap
from tallycast.process.exporter import MetricsServer
from tallycast.process.listener import is_loopback, listen, listen_at, url
from tallycast.process.pool import MEASURE_TIMEOUT, Worker
from tallycast.process.unix_socket import UnixListener, owner

# Parts (s) of the time limit of a shutdown: for the engine, which ends after the workers, and for this
# process.
ENGINE_STOP_TIME, OWN_STOP_TIME = 1.0, 0.5

log = structlog.get_logger()


def run(settings: Settings) -> int:
    """Run a whole server until SIGTERM or SIGINT; the exit status.

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
        self._metrics: MetricsServer | None = None
        self._workers: list[Worker] = []
        self._replacing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        # The deadline (monotonic clock) of the shutdown; None: no signal was received.
        self._deadline: float | None = None
        # The last valid text of the sites file; None: there is no file.
        self._sites: str | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        self._read_sites()
        # Without a sites file, SIGHUP has its usual meaning: the terminal was closed.
        hang_up = self._on_reload if self._settings.config else partial(self._on_signal, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self._on_replace)
        work = asyncio.create_task(self._serve(), name="server")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            stopping.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)
            await self._shut_down()
        if not work.cancelled():
            work.result()  # Raises: it ends by an error only.
        return 0

    def _on_signal(self, number: int) -> None:
        if not self._stopping.is_set():
            name = signal.Signals(number).name
            log.info("shutdown started", signal=name, hint="a second signal stops at once")
            self._deadline = time.monotonic() + self._settings.drain
            self._stopping.set()
            return
        for worker in self._workers:
            worker.kill()
        if self._engine is not None:
            self._engine.kill()

    def _on_reload(self) -> None:
        """Reload the sites file; an invalid file changes nothing."""
        try:
            self._read_sites()
        except SettingsError as error:
            log.error("sites file rejected", reason=str(error))
            return
        for worker in self._workers:
            worker.update_sites(self._sites)
        log.info("sites file reloaded", file=str(self._settings.config))

    def _on_replace(self) -> None:
        """Start to replace every worker, unless that is under way or some are still starting."""
        if self._stopping.is_set():
            return
        if not self._workers or not all(worker.ready.is_set() for worker in self._workers):
            log.warning("workers not replaced", reason="some are still starting")
        elif self._replacing is not None and not self._replacing.done():
            log.warning("workers not replaced", reason="a replacement is under way")
        else:
            self._replacing = asyncio.create_task(self._replace(), name="replace")

    async def _replace(self) -> None:
        """Replace the workers one by one, so that all but one accept connections at any time."""
        log.info("worker replacement started", workers=len(self._workers))
        for worker in self._workers:
            try:
                if not await worker.replace():
                    return
            except OSError as error:
                log.error("worker not replaced", reason=str(error))
                return
        log.info("worker replacement completed")

    def _read_sites(self) -> None:
        """Read and validate the sites file.

        Raises:
            SettingsError: it is invalid.
        """
        path = self._settings.config
        if path is not None:
            text = sites_file.read(path)
            sites_file.sites(text, str(path))
            self._sites = text

    async def _serve(self) -> None:
        """Start everything and keep it running; ends by an error or when cancelled."""
        # The listener first: a port in use is the most common error, and clients of a server that restarts
        # wait in the backlog instead of being refused.
        self._listener = await self._listen()
        if self._sites is None and not is_loopback(self._listener):
            log.warning("all origins allowed", reason="no sites file: see --config")
        self._serve_metrics()
        settings = await self._with_engine()
        numbers = range(1, settings.workers + 1)
        self._workers = [Worker(number, self._listener.fileno(), settings, self._sites) for number in numbers]
        runners = [asyncio.create_task(worker.run()) for worker in self._workers]
        banner_task = asyncio.create_task(self._show_banner(url(self._listener, self._settings.base_path)))
        try:
            await _until_one_fails(*runners, banner_task)
        finally:
            for task in (*runners, banner_task):
                task.cancel()
            await asyncio.gather(*runners, banner_task, return_exceptions=True)

    async def _listen(self) -> socket.socket:
        settings = self._settings
        path = settings.socket_path
        if path is None:
            return await listen(settings.host, settings.port)
        return await listen_at(path, int(settings.socket_mode, 8), owner(settings.socket_owner))

    async def _with_engine(self) -> Settings:
        """Start the embedded engine, unless REDIS_URL is set; the settings with the URL of the engine."""
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

            def collect() -> Snapshot:
                return asyncio.run_coroutine_threadsafe(self._measure(), loop).result(2 * MEASURE_TIMEOUT)

            self._metrics = MetricsServer(self._settings.metrics_host, port, collect)

    async def _measure(self) -> Snapshot:
        """The sum of all workers' metrics, and those of the supervisor."""
        total = Snapshot()
        answers = await asyncio.gather(*(worker.measure(total) for worker in self._workers))
        up = {str(number): int(answer is not None) for number, answer in enumerate(answers, 1)}
        present = [answer for answer in answers if answer is not None]
        total.gauge("engine_up", {"": int(bool(present) and all(one.engine_up for one in present))})
        total.gauge(
            "engine_writable", {"": int(bool(present) and all(one.engine_writable for one in present))}
        )
        unsafe = {setting for one in present for setting in one.engine_unsafe}
        total.gauge("engine_unsafe", {setting: int(setting in unsafe) for setting in SETTINGS})
        total.gauge("worker_up", up)
        total.count("worker_restarts", {"": sum(worker.restarts for worker in self._workers)})
        total.gauge("build_info", {__version__: 1})
        return total

    async def _show_banner(self, address: str) -> None:
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
        """Stop everything within the time limit, by force if necessary."""
        drain = self._settings.drain
        deadline = time.monotonic() + drain if self._deadline is None else self._deadline
        if self._listener is not None:
            if isinstance(self._listener, UnixListener):
                self._listener.remove()
            self._listener.close()  # New clients are refused as soon as the workers close theirs too.
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.gather(self._replacing, return_exceptions=True)
        workers_deadline = deadline - min(ENGINE_STOP_TIME, drain / 4)
        await asyncio.gather(*(worker.stop(workers_deadline) for worker in self._workers))
        rest: list[Awaitable[None]] = []
        if self._engine is not None:
            # Killing it would lose nothing: confirmed writes are on disk.
            rest.append(self._engine.stop(max(deadline - OWN_STOP_TIME - time.monotonic(), OWN_STOP_TIME)))
        if self._metrics is not None:
            rest.append(asyncio.to_thread(self._metrics.close))
        await asyncio.gather(*rest)
        if self._stopping.is_set():
            log.info("shutdown completed")


async def _until_one_fails(*tasks: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
