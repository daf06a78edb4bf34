"""The link to a cluster: every call to the node that has its slot, wherever that has moved.

Owns the way of a call: redirections, scripts that a node does not know yet, and what may be sent again. Sent
again is only what surely did nothing. What was sent and not answered has an unknown outcome; sent a second
time it could overtake a newer wish. Must not know what the scripts do.

A slot that is moved key by key is on two nodes for a while, and so may be the parts of one item. Who is sent
on by ASK gets a form of the script that refuses where a part has not come yet.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgpack
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LinkError

from tallycast.contract.errors import EngineError, OutcomeUnknown, Unavailable
from tallycast.engine.clock import DEADLINE, MARGIN
from tallycast.engine.cluster.node import LostError, Node, NotSentError, Words
from tallycast.engine.cluster.slots import Slots
from tallycast.engine.failover import is_sign
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.standalone import ANSWER_GRACE, KEEP_TIME_EVERY, REPLICA_WITHIN, pool
from tallycast.engine.store import Word

# Between two tries where a node says "not now".
PAUSE = 0.05

# The last two where they come again and again.
_NOT_NOW = (TryAgainError, AskError, NoScriptError)
# What scripts fail with where a key has just left, or has not come yet: before they write anything.
_NOT_HERE = ("non local key", "NOTHERE")

# Given a node, and whether it was named by ASK: what to send, the call itself first.
Commands = Callable[[Node, bool], Awaitable[list[Words]]]


class ClusterEngine:
    """One process's link to the cluster that has a node at ``url``. ``replicas`` must confirm each write.

    ``prefix`` is the deployment's, see ``keys``.
    """

    def __init__(self, url: str, replicas: int = 0, prefix: str = "") -> None:
        self.health = EngineHealth()
        # A cluster has one database.
        self.namespace = Namespace(prefix)
        self.slots = Slots(without_option(url), lambda url: pool(url, None))
        self.replicas = replicas
        # How redis-py reads replies, so that they are the same here as from one engine.
        self._callbacks = Redis().response_callbacks

    async def run(self, script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        """As ``Store.run``; all names have one slot."""

        async def commands(node: Node, asked: bool) -> list[Words]:
            return [_evaluation(node, script, names, arguments, asked=asked)]

        return bytes((await self._routed(names[0], commands, _soon()))[1])

    async def timed(
        self,
        script: Script,
        names: Sequence[bytes],
        *arguments: Word,
        until: float | None = None,
    ) -> Any:
        """As ``Store.timed``; all names have one slot.

        ``until`` (s, monotonic clock) is when it must have taken effect.
        """
        until = _soon() if until is None else until

        async def commands(node: Node, asked: bool) -> list[Words]:
            if not node.clock.known:
                await _read_clock(node)
            given = (node.clock.deadline(until), *arguments)
            words: list[Words] = [_evaluation(node, script, names, given, asked=asked)]
            return words + [("WAIT", self.replicas, REPLICA_WITHIN)] * bool(self.replicas)

        try:
            for _ in range(2):
                node, reply = await self._routed(names[0], commands, until)
                # Raw, because what is to be published is bytes.
                answer = msgpack.unpackb(reply, raw=True)
                node.clock.tick(answer[0])
                if len(answer) > 1:
                    break
                # Nothing took effect. The node's clock may have been set; it is known anew now.
            else:
                raise Unavailable("the engine came to it too late", retry_after=1.0)
        except OutcomeUnknown:
            # As for one engine: nothing is said before it would be refused there.
            await asyncio.sleep(until + MARGIN - time.monotonic())
            raise
        told = answer[2] if len(answer) > 2 else []
        self.health.drifted(answer[3] if len(answer) > 3 else ())
        for channel, payload in zip(told[::2], told[1::2], strict=True):
            self.tell(channel, payload)
        return answer[1]

    async def command(self, *words: Word) -> Any:
        """As ``Store.command``. The second word is the key; TIME, which has none, is that of some node."""
        key = words[1] if len(words) > 1 else self.namespace.revoked

        async def commands(_node: Node, _asked: bool) -> list[Words]:
            return [words]

        name = key if isinstance(key, bytes) else str(key).encode()
        _, reply = await self._routed(name, commands, _soon())
        callback = self._callbacks.get(str(words[0]))
        return reply if callback is None else callback(reply)

    async def names(self, pattern: str, page: int) -> AsyncIterator[list[bytes]]:
        """As ``Store.names``, of every primary. What moves from one to another meanwhile may be missed."""
        for node in tuple(self.slots.primaries):
            cursor = 0
            while True:
                reply = await self._of(node, "SCAN", cursor, "MATCH", pattern, "COUNT", page)
                cursor = int(reply[0])
                yield reply[1]
                if not cursor:
                    break

    async def size(self) -> int:
        """As ``Store.size``."""
        return sum([int(await self._of(node, "DBSIZE")) for node in tuple(self.slots.primaries)])

    def tell(self, channel: bytes, payload: bytes) -> None:
        """Publish on a channel, whichever slot that has. Best effort, like all news."""
        node = self.slots.owner(key_slot(channel))
        if node is not None:
            node.post("SPUBLISH", channel, payload)

    def everywhere(self) -> list[bytes]:
        """As ``Store.everywhere``: one for each primary."""
        nowhere = self.namespace.nowhere_key
        return [self.slots.name(node, map(nowhere, count())) for node in tuple(self.slots.primaries)]

    def groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """Which of these names may be in one call, by their indexes: here, each alone."""
        return [[index] for index in range(len(names))]

    async def settle(self) -> None:
        """Wait until what was under way a moment ago has taken effect, or never will."""
        await asyncio.sleep(DEADLINE + MARGIN)

    def age(self, version: int) -> float | None:
        """How long ago (s) a version was committed, by the clock of some node; ``None``: not known."""
        return next((node.clock.age(version) for node in self.slots.primaries if node.clock.known), None)

    async def keep_time(self) -> None:
        """As ``Store.keep_time``, for every node; and look at the map."""
        while True:
            for node in self.slots.primaries:
                try:
                    await _read_clock(node)
                except NotSentError:
                    pass  # who needs it next asks again
                await node.follow_name()
            await asyncio.sleep(KEEP_TIME_EVERY)
            self.slots.doubt()

    def reconnect(self) -> None:
        """As ``Store.reconnect``; and look at the map."""
        for node in self.slots.primaries:
            node.doubt()
        self.slots.doubt()

    async def raw(self, *words: Word) -> Any:
        """One command at the start, whose failure is told as it is.

        Raises:
            RedisError, OSError: as redis-py does.
        """
        node = self.slots.owner(key_slot(_bytes(words[1])))
        if node is None:
            raise LinkError(f"no node has the slot of {words[1]!r}")
        return await node.raw(*words)

    async def find(self) -> None:
        """As ``Store.find``."""
        await self.slots.read()
        if not self.slots.primaries:
            await self._explain()

    def primaries(self) -> Sequence[Node]:
        """As ``Store.primaries``; without a map the node that was named at the start."""
        return tuple(self.slots.primaries) or (self.slots.first,)

    async def close(self) -> None:
        """Close every connection."""
        await self.slots.close()

    async def _explain(self) -> None:
        """Why there is no map. One that may not be read is left to those who try all rights.

        Raises:
            EngineError: it is no cluster.
            RedisError, OSError: it does not answer.
        """
        try:
            await self.slots.first.raw("CLUSTER", "SLOTS")
        except NoPermissionError:
            return
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise EngineError("the engine is no cluster: leave cluster=true out of REDIS_URL") from None
            raise
        raise LinkError("the cluster has no slots")

    async def _of(self, node: Node, *words: Word) -> Any:
        """A node's own answer to a command that is about no key."""
        try:
            return await node.raw(*words)
        except LinkError as error:
            raise self.health.away(str(error)) from None
        except ResponseError as error:
            raise self.health.refused(str(error)) from None

    async def _routed(self, name: bytes, commands: Commands, until: float) -> tuple[Node, Any]:
        """The reply to the call, and whose it is.

        Raises:
            Unavailable: nothing was done by then.
            OutcomeUnknown: something may have been done, or will be.
        """
        slot = key_slot(name)
        route = _Route(self.slots, slot)
        while True:
            node = route.next()
            try:
                if node is None:
                    raise NotSentError("no node has the slot")
                words = await commands(node, route.asked)
                # On the same connection, and for the command behind it only.
                before: list[Words] = [("ASKING",)] if route.asked else []
                began = time.monotonic()
                within = max(until - began, 0.0) + ANSWER_GRACE
                reply, *confirmed = (await node.call(*before, *words, within=within))[len(before) :]
            except NotSentError as error:
                self.slots.doubt()
                reason = str(error)
            except LostError as error:
                self.slots.doubt()
                raise self.health.lost(str(error)) from error
            else:
                if not isinstance(reply, Exception):
                    self.health.answered(began)
                    self._check(node, confirmed)
                    return node, reply
                if route.redirected(reply, node):
                    continue
                reason = str(reply) or type(reply).__name__
                if is_sign(reply):
                    node.doubt()
                elif not isinstance(reply, _NOT_NOW) and not any(sign in reason for sign in _NOT_HERE):
                    raise self.health.refused(reason) from reply
                self.slots.doubt()
            if time.monotonic() + PAUSE > until:
                raise self.health.away(reason)
            route.again()
            await asyncio.sleep(PAUSE)

    def _check(self, node: Node, replies: Sequence[Any]) -> None:
        """Raise where WAIT was asked for and too few replicas have confirmed."""
        for reply in replies:
            if isinstance(reply, Exception) and is_sign(reply):
                node.doubt()
                self.slots.doubt()
            if not isinstance(reply, int) or reply < self.replicas:
                raise self.health.refused(f"confirmed by {reply} replicas")
        node.confirm()


class _Route:
    """Where one call is to be sent next."""

    # Redirections in a row before somebody must pause: nodes may point at each other for a while.
    _STRAIGHT = 4

    def __init__(self, slots: Slots, slot: int) -> None:
        self.asked = False
        self._slots = slots
        self._slot = slot
        self._target: Node | None = None
        self._turns = 0

    def next(self) -> Node | None:
        """The node."""
        return self._target or self._slots.owner(self._slot)

    def redirected(self, reply: Exception, by: Node) -> bool:
        """Whether the reply says where, or how, to send it at once. Nothing was done then."""
        self._turns += 1
        if isinstance(reply, NoScriptError):
            by.scripts.clear()
        elif isinstance(reply, AskError):
            address = by.named(reply.host, reply.port)
            self.asked = not isinstance(reply, MovedError)
            if address is None:
                self._slots.doubt()
                return False
            if self.asked:
                self._target = self._slots.node(address)
            else:
                self._target = None
                self._slots.correct(self._slot, address)
        else:
            return False
        return self._turns <= self._STRAIGHT

    def again(self) -> None:
        """Begin anew with whoever has the slot."""
        self._target, self.asked, self._turns = None, False, 0


def without_option(url: str) -> str:
    """The URL of one node, for redis-py, which does not know the option that says cluster."""
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "cluster"]
    return urlunsplit(parts._replace(query=urlencode(options)))


def _evaluation(
    node: Node, script: Script, names: Sequence[bytes], given: Sequence[Word], *, asked: bool
) -> Words:
    """A call of a script: in full where the node may not know it, which makes it known there."""
    form = script.asked if asked else script.cluster
    if form.sha in node.scripts:
        return ("EVALSHA", form.sha, len(names), *names, *given)
    node.scripts.add(form.sha)
    return ("EVAL", form.text, len(names), *names, *given)


async def _read_clock(node: Node) -> None:
    """Learn a node's clock.

    Raises:
        NotSentError: it did not answer; what was to come after it was not sent.
    """
    try:
        (reply,) = await node.call(("TIME",), within=ANSWER_GRACE)
    except LostError as error:
        raise NotSentError(str(error)) from None
    if isinstance(reply, Exception):
        raise NotSentError(str(reply))
    node.clock.tick(int(reply[0]) * 1_000_000 + int(reply[1]))


def _bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _soon() -> float:
    return time.monotonic() + DEADLINE
