"""How reactions are sent: on the visitor's own WebSocket, or as HTTP requests.

Does not depend on when they are due.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from tallycast.contract.messages import Ack, React

from tallycast_load.client.http import HttpClient, Reply, Request
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Connection, ConnectionContext
from tallycast_load.connections.websocket import WebSocketConnection
from tallycast_load.reactions.ledger import SentReaction

# Ref and reaction, with its ack, the code of an error, or None when no answer can arrive any more.
OnAnswer = Callable[[int, SentReaction, Ack | str | None], None]


class WebSocketSender:
    """Sends each visitor's reactions on the visitor's connection."""

    def __init__(self, connections: Mapping[int, Connection], context: ConnectionContext) -> None:
        self._connections = connections
        self._context = context

    def can_send(self, visitor: int) -> bool:
        """Whether the visitor's connection is up."""
        connection = self._connections[visitor]
        return connection.up and not connection.closing

    def send(self, ref: int, sent: SentReaction) -> None:
        """Send a reaction."""
        connection = self._connections[sent.visitor]
        assert isinstance(connection, WebSocketConnection)
        connection.on_sent(sent.item)
        message = React(self._context.items[sent.item], sent.reaction, ref)
        connection.send(self._context.codec.encode(message))

    def on_answered(self, sent: SentReaction, version: int) -> None:
        """Let the visitor's connection tell its own reactions from those of others again."""
        self._connections[sent.visitor].on_answered(sent.item, version)


class _Problem(msgspec.Struct):
    code: str = "none"


class _Confirmed(msgspec.Struct):
    item: str
    reaction: str | None
    version: int
    counts: dict[str, int]


class HttpSender:
    """Sends reactions as ``PUT /v1/reaction``; one pool of HTTP connections serves all visitors."""

    def __init__(
        self,
        connections: Mapping[int, Connection],
        context: ConnectionContext,
        http: HttpClient,
        target: Target,
        tokens: Mapping[int, str],
        on_answer: OnAnswer,
    ) -> None:
        self._connections = connections
        self._context = context
        self._http = http
        self._target = target
        self._tokens = tokens
        self._on_answer = on_answer
        self._tasks: set[asyncio.Task[None]] = set()

    def can_send(self, _visitor: int) -> bool:
        """Whether a reaction can be sent: always, because no connection belongs to a visitor."""
        return True

    def send(self, ref: int, sent: SentReaction) -> None:
        """Send a reaction."""
        self._connections[sent.visitor].on_sent(sent.item)
        task = asyncio.get_running_loop().create_task(self._request(ref, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_answered(self, sent: SentReaction, version: int) -> None:
        """Let the visitor's stream tell its own reactions from those of others again."""
        self._connections[sent.visitor].on_answered(sent.item, version)

    async def _request(self, ref: int, sent: SentReaction) -> None:
        path = self._target.path("/v1/reaction", self._context.site, [self._context.items[sent.item]])
        body = msgspec.json.encode({"reaction": sent.reaction})
        try:
            reply = await self._http.send(Request("PUT", path, self._tokens[sent.visitor], body))
        except OSError:
            self._on_answer(ref, sent, None)
            return
        self._on_answer(ref, sent, _answer(reply))


def _answer(reply: Reply) -> Ack | str:
    """The ack of a response, or the code of its error."""
    try:
        if reply.status == 200:
            confirmed = msgspec.json.decode(reply.body, type=_Confirmed)
            return Ack(confirmed.item, confirmed.reaction, confirmed.version, confirmed.counts)
        return msgspec.json.decode(reply.body, type=_Problem).code
    except ValueError:
        return f"HTTP {reply.status}"
