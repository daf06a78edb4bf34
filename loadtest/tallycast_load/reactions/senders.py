"""How reactions leave: on the visitor's own WebSocket, or as HTTP requests.

Must not know when they are due.
"""

import asyncio
from collections.abc import Mapping

import msgspec
from tallycast.contract.messages import Ack, React

from tallycast_load.client.http import Http, Reply, Request
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Reader, Room
from tallycast_load.connections.websocket import Watcher
from tallycast_load.reactions.ledger import Sent
from tallycast_load.reactions.scheduler import Reactor


class SocketSender:
    """Each visitor's reactions leave on the connection that is theirs."""

    def __init__(self, readers: Mapping[int, Reader], room: Room) -> None:
        self._readers = readers
        self._room = room

    def can(self, visitor: int) -> bool:
        """Whether that connection is there."""
        reader = self._readers[visitor]
        return reader.up and not reader.leaving

    def send(self, ref: int, sent: Sent) -> None:
        """Send it."""
        reader = self._readers[sent.visitor]
        assert isinstance(reader, Watcher)
        reader.react(sent.item)
        reader.say(self._room.speech.say(React(self._room.items[sent.item], sent.wish, ref)))

    def answered(self, sent: Sent, version: int) -> None:
        """Its own frames can be told from others' again."""
        self._readers[sent.visitor].answered(sent.item, version)


class _Problem(msgspec.Struct):
    code: str = "none"


class _Confirmed(msgspec.Struct):
    item: str
    reaction: str | None
    version: int
    counts: dict[str, int]


class HttpSender:
    """Reactions leave as ``PUT /v1/reaction``; a set of connections serves all visitors."""

    def __init__(
        self,
        readers: Mapping[int, Reader],
        room: Room,
        http: Http,
        target: Target,
        tokens: Mapping[int, str],
    ) -> None:
        self._readers = readers
        self._room = room
        self._http = http
        self._target = target
        self._tokens = tokens
        self._tasks: set[asyncio.Task[None]] = set()
        self.reactor: Reactor

    def can(self, _visitor: int) -> bool:
        """Always: no connection belongs to anybody."""
        return True

    def send(self, ref: int, sent: Sent) -> None:
        """Send it."""
        self._readers[sent.visitor].react(sent.item)
        task = asyncio.get_running_loop().create_task(self._ask(ref, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answered(self, sent: Sent, version: int) -> None:
        """Its own events can be told from others' again."""
        self._readers[sent.visitor].answered(sent.item, version)

    async def _ask(self, ref: int, sent: Sent) -> None:
        path = self._target.path("/v1/reaction", self._room.site, [self._room.items[sent.item]])
        body = msgspec.json.encode({"reaction": sent.wish})
        try:
            reply = await self._http.ask(Request("PUT", path, self._tokens[sent.visitor], body))
        except OSError:
            self.reactor.cut(ref)
            return
        if ref in self.reactor.book.under_way:
            self._take(ref, sent, reply)

    def _take(self, ref: int, sent: Sent, reply: Reply) -> None:
        try:
            if reply.status == 200:
                told = msgspec.json.decode(reply.body, type=_Confirmed)
                ack = Ack(told.item, told.reaction, told.version, told.counts)
                self.reactor.acked(ref, ack, sent.visitor)
                return
            code = msgspec.json.decode(reply.body, type=_Problem).code
        except ValueError:
            code = f"HTTP {reply.status}"
        self.reactor.refuse(ref, code)
