"""The store on a cluster: sends every call to the node that owns its slot, wherever that has moved.

Owns the routing of a call: redirections, scripts that a node does not know yet, and what may be sent again.
Only what surely did nothing is sent again. What was sent and not answered has an unknown outcome; sent a
second time it could overtake a newer reaction. Does not depend on what the scripts do.

While a slot is moved key by key its keys are on two nodes, and so may be the buckets of one item. After an
ASK redirection the importing node gets a variant of the script that fails where a bucket has not arrived yet.
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

from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.engine.clock import DEADLINE, MARGIN, ClockOffset
from tallycast.engine.cluster.feed import ClusterFeed
from tallycast.engine.cluster.node import LostError, Node, NotSentError, Words
from tallycast.engine.cluster.slots import Slots
from tallycast.engine.connection_pool import MAINTENANCE_INTERVAL, REPLICA_TIMEOUT, REPLY_GRACE, pool
from tallycast.engine.failover import is_sign
from tallycast.engine.feed import FeedListener
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.store import EngineError, Word

# Between two tries where a node says "not now".
RETRY_PAUSE = 0.05

# The last two only where they come again and again.
_NOT_NOW = (TryAgainError, AskError, NoScriptError)
# What scripts fail with where a key has just left, or has not arrived yet: before they write anything.
_NOT_HERE = ("non local key", "NOTHERE")

# Given a node, and whether an ASK redirection named it: the commands to send, the call itself first.
Call = Callable[[Node, bool], Awaitable[list[Words]]]


class ClusterStore:
    """One process's link to the cluster that has a node at ``url``. ``replicas`` must confirm each commit.

    ``prefix`` is the deployment's, see ``keys``.
    """

    partitioned = True

    def __init__(self, url: str, replicas: int = 0, prefix: str = "") -> None:
        self.health = EngineHealth()
        # A cluster has one database.
        self.namespace = Namespace(prefix)
        self.slots = Slots(without_option(url), lambda url: pool(url, None))
        self.replicas = replicas
        # How redis-py converts replies, so that they are the same here as from one engine.
        self._callbacks = Redis().response_callbacks

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: Word) -> bytes:
        """See ``Scripts``."""

        async def commands(node: Node, ask: bool) -> list[Words]:
            return [_evaluation(node, script, keys, arguments, importing=ask)]

        return bytes(await self._route(keys[0], commands, _default_deadline()))

    async def commit(
        self, script: Script, keys: Sequence[bytes], *arguments: Word, until: float | None = None
    ) -> Any:
        """See ``Scripts``. Publishes what the script leaves to be published on other nodes."""
        until = _default_deadline() if until is None else until
        clock = ClockOffset()

        async def commands(node: Node, ask: bool) -> list[Words]:
            nonlocal clock
            # Again where the node was reconnected meanwhile: another may have answered.
            while not (clock := node.clock).known:
                await node.read_clock(REPLY_GRACE)
            rest = (clock.deadline(until), *arguments)
            words: list[Words] = [_evaluation(node, script, keys, rest, importing=ask)]
            return words + [("WAIT", self.replicas, REPLICA_TIMEOUT)] * bool(self.replicas)

        try:
            for _ in range(2):
                reply = await self._route(keys[0], commands, until)
                # Raw, because what is to be published is bytes.
                answer = msgpack.unpackb(reply, raw=True)
                clock.update(answer[0])
                if len(answer) > 1:
                    break
                # Nothing took effect. The node's clock may have been set; its offset is up to date now.
            else:
                raise Unavailable("the engine ran it past its deadline", retry_after=1.0)
        except OutcomeUnknown:
            # As for one engine: nothing is answered before it would be refused there.
            await asyncio.sleep(until + MARGIN - time.monotonic())
            raise
        unpublished = answer[2] if len(answer) > 2 else []
        self.health.drifted(answer[3] if len(answer) > 3 else ())
        for channel, payload in zip(unpublished[::2], unpublished[1::2], strict=True):
            self.publish(channel, payload)
        return answer[1]

    async def execute(self, *words: Word) -> Any:
        """See ``Commands``. TIME, which has no key, is sent to some node."""
        key = words[1] if len(words) > 1 else self.namespace.revoked

        async def commands(_node: Node, _ask: bool) -> list[Words]:
            return [words]

        reply = await self._route(_bytes(key), commands, _default_deadline())
        callback = self._callbacks.get(str(words[0]))
        return reply if callback is None else callback(reply)

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """See ``Commands``. Keys that move from one primary to another meanwhile may be missed."""
        for node in tuple(self.slots.primaries):
            cursor = 0
            while True:
                reply = await self._execute_on(node, "SCAN", cursor, "MATCH", pattern, "COUNT", count)
                cursor = int(reply[0])
                yield reply[1]
                if not cursor:
                    break

    async def size(self) -> int:
        """See ``Commands``."""
        return sum([int(await self._execute_on(node, "DBSIZE")) for node in tuple(self.slots.primaries)])

    def publish(self, channel: bytes, payload: bytes) -> None:
        """Publish on a channel of any slot. May get lost, as every message of pub/sub."""
        node = self.slots.owner(key_slot(channel))
        if node is not None:
            node.post("SPUBLISH", channel, payload)

    def probe_keys(self) -> list[bytes]:
        """See ``Admin``."""
        key = self.namespace.nowhere_key
        return [self.slots.first_owned(node, map(key, count())) for node in tuple(self.slots.primaries)]

    def partition(self, keys: Sequence[bytes]) -> list[list[int]]:
        """See ``Scripts``: each key alone."""
        return [[index] for index in range(len(keys))]

    async def await_deadlines(self) -> None:
        """See ``Scripts``."""
        await asyncio.sleep(DEADLINE + MARGIN)

    def age(self, version: int) -> float | None:
        """See ``Store``; by the clock of some node."""
        return next((node.clock.age(version) for node in self.slots.primaries if node.clock.known), None)

    async def maintain(self) -> None:
        """See ``Store``."""
        while True:
            for node in self.slots.primaries:
                try:
                    await node.read_clock(REPLY_GRACE)
                except NotSentError:
                    pass  # the next commit reads it
                await node.follow_name()
            await asyncio.sleep(MAINTENANCE_INTERVAL)
            self.slots.refresh()

    def reconnect(self) -> None:
        """See ``Admin``. Reads the slot map again, too."""
        for node in self.slots.primaries:
            node.mark_failing()
        self.slots.refresh()

    async def execute_raw(self, *words: Word) -> Any:
        """See ``Admin``; the first argument is the key."""
        node = self.slots.owner(key_slot(_bytes(words[1])))
        if node is None:
            raise LinkError(f"no node owns the slot of {words[1]!r}")
        return await node.execute_raw(*words)

    async def discover(self) -> None:
        """See ``Admin``."""
        await self.slots.read()
        if not self.slots.primaries:
            await self._explain_no_slots()

    def primaries(self) -> Sequence[Node]:
        """See ``Admin``; without a slot map the node that the URL names."""
        return tuple(self.slots.primaries) or (self.slots.seed,)

    def feed(self, listener: FeedListener) -> ClusterFeed:
        """See ``Store``."""
        return ClusterFeed(self.slots, listener, self.namespace)

    async def close(self) -> None:
        """See ``Store``."""
        await self.slots.close()

    async def _explain_no_slots(self) -> None:
        """Raise the reason why there is no slot map, unless it is a missing right, which is checked later.

        Raises:
            EngineError: the engine is no cluster.
            RedisError, OSError: it does not answer.
        """
        try:
            await self.slots.seed.execute_raw("CLUSTER", "SLOTS")
        except NoPermissionError:
            return
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise EngineError("the engine is no cluster: leave cluster=true out of REDIS_URL") from None
            raise
        raise LinkError("the cluster has no slots")

    async def _execute_on(self, node: Node, *words: Word) -> Any:
        """A node's own reply to a command without a key."""
        try:
            return await node.execute_raw(*words)
        except LinkError as error:
            raise self.health.unreachable(str(error)) from None
        except ResponseError as error:
            raise self.health.refused(str(error)) from None

    async def _route(self, key: bytes, commands: Call, until: float) -> Any:
        """The reply to a call, from the node that owns its key.

        Raises:
            Unavailable: nothing was done until then (s, monotonic clock).
            OutcomeUnknown: something may have been done, or will be.
        """
        slot = key_slot(key)
        route = _Route(self.slots, slot)
        while True:
            node = route.next()
            try:
                if node is None:
                    raise NotSentError("no node owns the slot")
                words = await commands(node, route.ask)
                # On the same connection; it covers only the command right behind it.
                asking: list[Words] = [("ASKING",)] if route.ask else []
                began = time.monotonic()
                within = max(until - began, 0.0) + REPLY_GRACE
                reply, *confirmed = (await node.call(*asking, *words, within=within))[len(asking) :]
            except NotSentError as error:
                self.slots.refresh()
                reason = str(error)
            except LostError as error:
                self.slots.refresh()
                raise self.health.lost(str(error)) from error
            else:
                if not isinstance(reply, Exception):
                    self.health.answered(began)
                    self._check_confirmed(node, confirmed)
                    return reply
                if route.redirected(reply, node):
                    continue
                reason = str(reply) or type(reply).__name__
                if is_sign(reply):
                    node.mark_failing()
                elif not isinstance(reply, _NOT_NOW) and not any(sign in reason for sign in _NOT_HERE):
                    raise self.health.refused(reason) from reply
                self.slots.refresh()
            if time.monotonic() + RETRY_PAUSE > until:
                raise self.health.unreachable(reason)
            route.restart()
            await asyncio.sleep(RETRY_PAUSE)

    def _check_confirmed(self, node: Node, replies: Sequence[Any]) -> None:
        """Raise ``Unavailable`` where WAIT was sent and too few replicas have confirmed."""
        for reply in replies:
            if isinstance(reply, Exception) and is_sign(reply):
                node.mark_failing()
                self.slots.refresh()
            if not isinstance(reply, int) or reply < self.replicas:
                raise self.health.refused(f"confirmed by {reply} of {self.replicas} replicas in time")
        node.mark_serving()


class _Route:
    """The nodes to which one call is sent, one after the other."""

    # Redirections in a row before a pause: nodes may point at each other for a while.
    _MAX_REDIRECTIONS = 4

    def __init__(self, slots: Slots, slot: int) -> None:
        # Whether the next node is importing the slot, and must be sent ASKING.
        self.ask = False
        self._slots = slots
        self._slot = slot
        self._target: Node | None = None
        self._redirections = 0

    def next(self) -> Node | None:
        """The node to send to; ``None`` where no owner of the slot is known."""
        return self._target or self._slots.owner(self._slot)

    def redirected(self, reply: Exception, node: Node) -> bool:
        """Whether a node's error says where, or how, to send it at once. Nothing was done then."""
        self._redirections += 1
        if isinstance(reply, NoScriptError):
            node.scripts.clear()
        elif isinstance(reply, AskError):
            address = node.resolve(reply.host, reply.port)
            self.ask = not isinstance(reply, MovedError)
            if address is None:
                self._slots.refresh()
                return False
            if self.ask:
                self._target = self._slots.node(address)
            else:
                self._target = None
                self._slots.correct(self._slot, address)
        else:
            return False
        return self._redirections <= self._MAX_REDIRECTIONS

    def restart(self) -> None:
        """Begin again with the owner of the slot."""
        self._target, self.ask, self._redirections = None, False, 0


def without_option(url: str) -> str:
    """The URL of one node for redis-py, which does not know the option ``cluster``."""
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "cluster"]
    return urlunsplit(parts._replace(query=urlencode(options)))


def _evaluation(
    node: Node, script: Script, keys: Sequence[bytes], arguments: Sequence[Word], *, importing: bool
) -> Words:
    """The command that runs a script: with its text where the node may not know it, which loads it there."""
    source = script.importing if importing else script.cluster
    if source.sha in node.scripts:
        return ("EVALSHA", source.sha, len(keys), *keys, *arguments)
    node.scripts.add(source.sha)
    return ("EVAL", source.text, len(keys), *keys, *arguments)


def _bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _default_deadline() -> float:
    return time.monotonic() + DEADLINE
