"""The link to one node of a cluster: one connection that many share.

Owns the connection and the order on it: what is sent in one turn of the loop travels together, and replies
come in the order of the commands. Must not know which node has what, nor repeat anything: who asks is told
whether it was sent. ``redis.asyncio.cluster`` is not used, because it sends ASKING on another connection than
the command that it is for, gives back connections in the middle of a reply, and does not say who answered.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LinkError

from tallycast.engine.clock import DEADLINE, Clock
from tallycast.engine.failover import Backoff, HostName
from tallycast.engine.standalone import Pool

CONNECT_WITHIN = 1.0

Words = Sequence[bytes | str | int]


class NotSentError(Exception):
    """No connection: nothing was sent."""


class LostError(Exception):
    """It was sent, and no reply came."""


class Node:
    """One node. Connects when it is asked something; ``pool`` makes the connections.

    ``clock`` is the node's own: another node's may differ.
    """

    sharded = True

    def __init__(self, address: str, pool: Pool) -> None:
        self.address = address
        # Called when connections lead to another machine than before, or may do so.
        self.moved: Callable[[], None] = lambda: None
        self._clock = Clock()
        # Names of the scripts that were sent on this connection.
        self.scripts: set[str] = set()
        self._pool = pool
        self._line: _Line | None = None
        # What was open before the last reconnect, as far as replies are still to come.
        self._retired: list[_Line] = []
        self._backoff = Backoff()
        self._name = HostName(address.rpartition(":")[0])

    @property
    def clock(self) -> Clock:
        """What is known of its clock; nothing where the link was lost, because another may answer next."""
        if self._line is None or self._line.over:
            self._clock.forget()
        return self._clock

    def named(self, host: str | None, port: int) -> str | None:
        """The address of a node, as this one names it; ``None``: it does not know."""
        # A node that announces names may know another that has none.
        if host == "?":
            return None
        # Without a host it is the one that was asked.
        return f"{host or self.address.rpartition(':')[0]}:{port}"

    @property
    def doubted(self) -> bool:
        """Whether it could not serve when it was asked last."""
        return self._backoff.waiting

    def doubt(self) -> None:
        """It cannot serve: another machine may have its name by now. Reconnects, with pauses."""
        if self._backoff.due():
            self._reconnect()

    def confirm(self) -> None:
        """It serves."""
        if self._backoff.waiting:
            self._backoff.reset()
            self.moved()

    async def follow_name(self) -> None:
        """Reconnect where the host name leads elsewhere."""
        if await self._name.moved_from(self._pool.peers()):
            self._reconnect()
            self.moved()

    async def call(self, *commands: Words, within: float) -> list[Any]:
        """The replies to commands that are sent one right behind the other; error replies as exceptions.

        ``within`` is how long (s) replies are waited for. When one does not come, nothing else on the
        connection is believed in any more.

        Raises:
            NotSentError, LostError: as those say.
        """
        line = self._open()
        replies = line.send(commands)
        await asyncio.wait(replies, timeout=within)
        if not all(reply.done() for reply in replies):
            line.close("no reply in time")
        return [reply.result() for reply in replies]

    async def raw(self, *words: bytes | str | int) -> Any:
        """The reply to one command that is about no other node.

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

    def post(self, *words: bytes | str | int) -> None:
        """Send a command whose reply, and whose fate, nobody cares about."""
        self._open().send([words])

    def connection(self) -> AbstractConnection:
        """A connection of one's own, for the feed. Not yet connected."""
        return self._connection()

    async def publish(self, channel: bytes) -> None:
        """Publish nothing, on a channel whose slot this node has.

        Raises:
            ConnectionError: it could not.
        """
        try:
            (reply,) = await self.call(("SPUBLISH", channel, b""), within=CONNECT_WITHIN)
        except (NotSentError, LostError) as error:
            raise ConnectionError(str(error)) from None
        if isinstance(reply, Exception):
            raise ConnectionError(str(reply))

    async def close(self) -> None:
        """End the connection."""
        self._reconnect()
        for line in self._retired:
            line.close("closed")
            await line.ended()
        await self._pool.disconnect()

    def _open(self) -> "_Line":
        if self._line is None or self._line.over:
            self._line = _Line(self._connection())
            self.scripts.clear()
        return self._line

    def _reconnect(self) -> None:
        self._retired = [line for line in self._retired if not line.over]
        if self._line is not None:
            self._line.retire()
            self._retired.append(self._line)
            self._line = None

    def _connection(self) -> AbstractConnection:
        return self._pool.make_connection()


class _Line:
    """A connection from its making to its end."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.over = False
        self._connection = connection
        self._connected = False
        self._retired = False
        self._outgoing: list[bytes] = []
        self._something = asyncio.Event()
        # In the order of the commands, sent or not.
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def send(self, commands: Sequence[Words]) -> list[asyncio.Future[Any]]:
        """Send commands when the connection is there; their replies."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        for words in commands:
            # redis-py's own takes three times as long.
            self._outgoing.append(pack_command(tuple(words)))  # type: ignore[arg-type]
        self._waiting += replies
        self._something.set()
        return replies

    def retire(self) -> None:
        """End when the replies that are under way have come; nothing is sent any more."""
        self._retired = True
        if not self._waiting:
            self.close("replaced")

    def close(self, reason: str) -> None:
        """Wait for nothing any more."""
        self._fail(reason)
        self._task.cancel()

    async def ended(self) -> None:
        """Wait for the end."""
        await asyncio.wait([self._task], timeout=CONNECT_WITHIN)

    async def _run(self) -> None:
        reason = "the connection ended"
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
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
            await self._something.wait()
            self._something.clear()
            outgoing, self._outgoing = self._outgoing, []
            await self._connection.send_packed_command(outgoing, check_health=False)

    async def _read(self) -> None:
        while True:
            try:
                reply = await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except (ResponseError, BusyLoadingError) as error:
                # redis-py takes LOADING for a lost connection.
                reply = error
            if not self._waiting:
                raise LinkError("nobody waits for it any more")
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(reply)
            if self._retired and not self._waiting:
                raise LinkError("replaced")

    def _fail(self, reason: str) -> None:
        self.over = True
        error = LostError if self._connected else NotSentError
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error(reason))
                # Nobody may wait for it any more.
                future.exception()
