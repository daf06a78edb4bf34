"""Watches whether an embedded engine's socket and files are still where they were when it started.

Owns the checks, and what is done about a file that was deleted or replaced while the engine runs. The engine
itself notices none of it: it goes on writing to deleted files, so that all it confirms is lost with its end,
and goes on listening on a deleted socket, which no new connection reaches. Does not depend on how the engine
is started.
"""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tallycast.engine.embedded.folder import DataFolder, FolderState
from tallycast.engine.store import EngineError

ANSWER = 2.0
REWRITE_POLL = 0.05

_log = structlog.get_logger("engine")


class StorageWatch:
    """Watches one engine process, from ``attach`` to ``detach``.

    ``connect`` makes a client. One connection is kept, because a new one needs the socket.
    """

    def __init__(self, folder: DataFolder, connect: Callable[[Path], Redis]) -> None:
        self._folder = folder
        self._connect = connect
        self._socket = Path()
        self._client: Redis | None = None
        self._identity: tuple[int, int] | None = None
        # The files that the engine writes to; a rewrite creates new files with new names.
        self._parts: dict[str, tuple[int, int]] = {}
        self._refusing = False
        self._failure = ""

    async def attach(self, socket: Path) -> None:
        """Watch the engine that has just started to serve on the socket.

        Raises:
            RedisError, TimeoutError: it does not answer.
        """
        client = self._connect(socket)
        async with asyncio.timeout(ANSWER):
            await client.ping()
        self._client, self._socket, self._identity = client, socket, _socket_identity(socket)
        self._parts = self._folder.parts() or {}
        self._refusing = False

    async def detach(self) -> None:
        """Stop watching."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def look(self) -> bool:
        """Repair the files. Returns whether the engine must be restarted, for a new socket or a new lock.

        While its files are missing the engine refuses writes.
        """
        if self._client is None:
            return False
        state = self._state()
        try:
            if state is not FolderState.INTACT:
                await self._repair(self._client, state)
            elif self._refusing:
                await self._refuse_writes(self._client, refuse=False)
                _log.info("engine files complete again")
        except (RedisError, OSError, TimeoutError, EngineError) as error:
            self._failed(str(error) or type(error).__name__)
            return False
        self._failure = ""
        if self._state() is not FolderState.INTACT:
            return False
        if _socket_identity(self._socket) != self._identity:
            _log.error(
                "engine socket deleted or replaced", socket=str(self._socket), hint="the engine is restarted"
            )
            return True
        if self._folder.noted_engine() is None:
            # It names the engine, and makes a successor wait until this one has ended.
            _log.error("engine lock deleted", data=str(self._folder.path), hint="the engine is restarted")
            return True
        return False

    def _state(self) -> FolderState:
        state = self._folder.state()
        if state is not FolderState.INTACT:
            return state
        parts = self._folder.parts() or {}
        if any(parts.get(name, part) != part for name, part in self._parts.items()):
            return FolderState.REPLACED
        self._parts = parts
        return FolderState.INTACT

    async def _repair(self, client: Redis, state: FolderState) -> None:
        if not self._refusing:
            _log.error(
                "engine files deleted or replaced",
                data=str(self._folder.path),
                found=state.value,
                hint="writes are refused",
            )
        # What it has confirmed is still in its memory. Nothing must be confirmed that is not on disk.
        await self._refuse_writes(client, refuse=True)
        if state in (FolderState.FOREIGN, FolderState.REPLACED):
            # It may be a backup, and a program must not decide which data is right.
            return
        if state is FolderState.GONE:
            self._folder.recreate()
        async with asyncio.timeout(ANSWER):
            await client.config_set("dir", str(self._folder.path))
        await self._rewrite(client)

    def _failed(self, reason: str) -> None:
        if reason != self._failure:
            self._failure = reason
            _log.error("engine files not repaired", reason=reason, hint="tried again every second")

    async def _refuse_writes(self, client: Redis, *, refuse: bool) -> None:
        # It has no replicas: with this setting it refuses writes and serves everything else.
        async with asyncio.timeout(ANSWER):
            await client.config_set("min-replicas-to-write", int(refuse))
        self._refusing = refuse

    async def _rewrite(self, client: Redis) -> None:
        """Write all data in memory to new files, synced, and wait until that is done.

        Raises:
            EngineError: it could not.
        """
        async with asyncio.timeout(ANSWER):
            await client.bgrewriteaof()
        while True:
            async with asyncio.timeout(ANSWER):
                info = await client.info("persistence")
            if not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]):
                break
            await asyncio.sleep(REWRITE_POLL)
        if info["aof_last_bgrewrite_status"] != "ok":
            raise EngineError("the engine cannot write its data to new files")


def _socket_identity(path: Path) -> tuple[int, int] | None:
    """What identifies the socket at a path; the inode number of an open socket is not used again."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
