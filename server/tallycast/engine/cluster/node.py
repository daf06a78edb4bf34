"""The link to one node of a cluster: one connection that all calls share.

Owns the connection and the order on it: what is sent in one turn of the loop travels together, and replies
come in the order of the commands. Repeats nothing: a failed call says whether it was sent. Does not depend on
which node owns what. ``redis.asyncio.cluster`` is not used, because it sends ASKING on another connection
than the command that it is for, releases connections in the middle of a reply, and does not say which node
replied.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LinkError

from tallycast.engine.clock import DEADLINE, ClockOffset
from tallycast.engine.connection_pool import CONNECT_TIMEOUT, Pool
from tallycast.engine.failover import Backoff, ChangeSignal, HostName
from tallycast.engine.store import Word

Words = Sequence[Word]


class NotSentError(Exception):
    """No connection: nothing was sent."""


class LostError(Exception):
    """It was sent, and no reply came."""


class Node:
    """One node. Connects when it is called; ``pool`` makes the connections."""

    sharded = True

    def __init__(self, address: str, pool: Pool) -> None:
        self.address = address
        # Fires when connections lead to another machine than before, or may do so.
        self.relocated = ChangeSignal()
        # The digests of the scripts that were sent on this connection.
        self.scripts: set[str] = set()
        self._pool = pool
        self._connection: _Connection | None = None
        # Connections from before the last reconnect, as far as replies are still to come.
        self._retired: list[_Connection] = []
        self._backoff = Backoff()
        self._host_name = HostName(address.rpartition(":")[0])

    @property
    def clock(self) -> ClockOffset:
        """The clock of the node at the other end of the connection; unknown where none is open."""
        if self._connection is None or self._connection.closed:
            return ClockOffset()
        return self._connection.clock

    def resolve(self, host: str | None, port: int) -> str | None:
        """The address of a node that this node names in a reply; ``None`` where it does not know it."""
        # A node that announces names may know another that has none.
        if host == "?":
            return None
        # Without a host it is the node that replied.
        return f"{host or self.address.rpartition(':')[0]}:{port}"

    @property
    def failing(self) -> bool:
        """Whether it could not serve at the last call."""
        return self._backoff.waiting

    def mark_failing(self) -> None:
        """It cannot serve, and another machine may have its name by now: reconnect, with pauses."""
        if self._backoff.due():
            self._reconnect()

    def mark_serving(self) -> None:
        """It serves."""
        if self._backoff.waiting:
            self._backoff.reset()
            self.relocated.fire()

    async def follow_name(self) -> None:
        """Reconnect where the host name resolves to another address."""
        if await self._host_name.moved_from(self._pool.peers()):
            self._reconnect()
            self.relocated.fire()

    async def call(self, *commands: Words, within: float) -> list[Any]:
        """Send commands one right behind the other; the replies, errors as exceptions.

        Where a reply does not come within ``within`` (s), the connection is closed.

        Raises:
            NotSentError, LostError: as those say.
        """
        return await self._open().call(commands, within)

    async def read_clock(self, within: float) -> None:
        """Make ``clock`` known, unless the connection is replaced meanwhile.

        Raises:
            NotSentError: no reply within that time (s); what was to follow was not sent.
        """
        connection = self._open()
        try:
            (reply,) = await connection.call([("TIME",)], within)
        except LostError as error:
            raise NotSentError(str(error)) from None
        if isinstance(reply, Exception):
            raise NotSentError(str(reply))
        connection.clock.update(int(reply[0]) * 1_000_000 + int(reply[1]))

    async def execute_raw(self, *words: Word) -> Any:
        """The reply to one command that concerns no other node.

        Raises:
            RedisError: as redis-py does.
        """
        try:
            (reply,) = await self.call(words, within=DEADLINE)
        except (NotSentError, LostError) as error:
            raise LinkError(str(error)) from (error.__cause__ or error)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def post(self, *words: Word) -> None:
        """Send a command whose reply is ignored, and which may get lost."""
        self._open().send([words])

    def connection(self) -> AbstractConnection:
        """A connection outside of this link, not yet connected: see ``feed.FeedEngine``."""
        return self._pool.make_connection()

    async def publish(self, channel: bytes) -> None:
        """Publish an empty message on a channel whose slot this node owns: see ``feed.FeedEngine``.

        Raises:
            ConnectionError: it could not be sent, or was refused.
        """
        try:
            (reply,) = await self.call(("SPUBLISH", channel, b""), within=CONNECT_TIMEOUT)
        except (NotSentError, LostError) as error:
            raise ConnectionError(str(error)) from None
        if isinstance(reply, Exception):
            raise ConnectionError(str(reply))

    async def close(self) -> None:
        """Close every connection."""
        self._reconnect()
        for connection in self._retired:
            connection.close("closed")
            await connection.wait_closed()
        await self._pool.disconnect()

    def _open(self) -> "_Connection":
        if self._connection is None or self._connection.closed:
            self._connection = _Connection(self.connection())
            self.scripts.clear()
        return self._connection

    def _reconnect(self) -> None:
        self._retired = [connection for connection in self._retired if not connection.closed]
        if self._connection is not None:
            self._connection.retire()
            self._retired.append(self._connection)
            self._connection = None


class _Connection:
    """A pipelined connection, from connecting to its end."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.closed = False
        self.clock = ClockOffset()
        self._connection = connection
        self._connected = False
        self._retired = False
        self._outgoing: list[bytes] = []
        self._has_outgoing = asyncio.Event()
        # The replies to come, in the order of the commands, sent or not.
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def call(self, commands: Sequence[Words], within: float) -> list[Any]:
        """See ``Node.call``."""
        replies = self.send(commands)
        await asyncio.wait(replies, timeout=within)
        if not all(reply.done() for reply in replies):
            self.close("no reply in time")
        return [reply.result() for reply in replies]

    def send(self, commands: Sequence[Words]) -> list[asyncio.Future[Any]]:
        """Send commands as soon as the connection is up; the replies to come."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        for words in commands:
            # redis-py's own takes three times as long.
            self._outgoing.append(pack_command(tuple(words)))  # type: ignore[arg-type]
        self._pending += replies
        self._has_outgoing.set()
        return replies

    def retire(self) -> None:
        """Close when all pending replies have come. Nothing may be sent any more."""
        self._retired = True
        if not self._pending:
            self.close("replaced")

    def close(self, reason: str) -> None:
        """Fail all pending replies, and close."""
        self._fail(reason)
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.wait([self._task], timeout=CONNECT_TIMEOUT)

    async def _run(self) -> None:
        reason = "the connection ended"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connection.connect()
            self._connected = True
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._read())
        except* (RedisError, OSError, RuntimeError, TimeoutError) as group_:
            reason = str(group_.exceptions[0]) or type(group_.exceptions[0]).__name__
        finally:
            self._fail(reason)
            await self._connection.disconnect(nowait=True)

    async def _write(self) -> None:
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing.clear()
            outgoing, self._outgoing = self._outgoing, []
            await self._connection.send_packed_command(outgoing, check_health=False)

    async def _read(self) -> None:
        while True:
            try:
                reply = await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except (ResponseError, BusyLoadingError) as error:
                # redis-py takes LOADING for a lost connection.
                reply = error
            if not self._pending:
                raise LinkError("a reply without a command")
            future = self._pending.popleft()
            if not future.done():
                future.set_result(reply)
            if self._retired and not self._pending:
                raise LinkError("replaced")

    def _fail(self, reason: str) -> None:
        self.closed = True
        error = LostError if self._connected else NotSentError
        while self._pending:
            future = self._pending.popleft()
            if not future.done():
                future.set_exception(error(reason))
                # Retrieved here, because there may be no caller waiting for it any more.
                future.exception()
