"""The rights that the engine's access list must grant, and a trial of them.

Owns the list of all commands that are ever used, each with its keys and channels, and how to try them without
any effect: an engine checks rights before arguments, so a write is tried with arguments that are refused
afterwards, and on keys that nothing is stored under. Scripts need no further rights: their commands are
checked in the same way. Does not depend on which engine is tried.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoPermissionError, ResponseError

from tallycast.engine.keys import Namespace
from tallycast.engine.store import Word

TIMEOUT = 3.0

Words = tuple[Word, ...]

# The arguments after the key. Writes get arguments that are refused, or a member that does not exist.
_BAD_SET = ("", "NX", "XX")
_ITEM: Sequence[Words] = (
    ("HGET", "f"), ("HMGET", "f"), ("HGETALL",), ("HLEN",), ("HSCAN", 0), ("EXISTS",),
    ("HSET", "f", "v", "f"), ("HDEL", "f"), ("UNLINK",),
)  # fmt: skip
_INDEX: Sequence[Words] = (
    ("ZADD", "never", "m"), ("ZREM", "m"), ("ZSCORE", "m"), ("ZRANGEBYSCORE", 0, 0), ("TYPE",), ("GET",),
    ("SET", *_BAD_SET),
)  # fmt: skip
_TAKEN: Sequence[Words] = (("EXPIRE", "never"), ("ZRANGE", 0, 0), ("ZREM", "m"))
_MERGES: Sequence[Words] = (
    ("ZADD", "never", "m"), ("ZREM", ""), ("ZRANGEBYSCORE", 0, 0), ("ZSCAN", 0, "COUNT", 1),
)  # fmt: skip
_STRING: Sequence[Words] = (("GET",), ("SET", *_BAD_SET))
_SECRET: Sequence[Words] = (("EXISTS",), *_STRING)
_STREAM: Sequence[Words] = (("XADD", "never", "f", "v"), ("XRANGE", "-", "+", "COUNT", 1))
_KEYLESS: Sequence[Words] = (
    ("TIME",), ("SCAN", 0, "COUNT", 1), ("DBSIZE",), ("EVAL", "return 0", 0),
)  # fmt: skip
_MESSAGES = (b"message", b"smessage")
_CONTAINERS = ("CLUSTER", "CLIENT")


class Use(NamedTuple):
    """A command as it is tried, and the pattern of the keys or channels it is used ``on``, if any."""

    words: Words
    on: str = ""

    @property
    def command(self) -> str:
        """Its name, with its subcommand."""
        words = self.words[:2] if self.words[0] in _CONTAINERS else self.words[:1]
        return " ".join(map(str, words))


def data_uses(names: Namespace) -> list[Use]:
    """All commands on the deployment's keys."""
    item, index, taken = names.item_key("", ""), names.index_key("", b""), names.taken_key("", b"")
    used: list[tuple[bytes | str, str, Sequence[Words]]] = [
        (item, "{*", _ITEM),
        (index, "{@*", (*_INDEX, ("RENAME", taken))),
        (taken, "{@*", _TAKEN),
        (names.merges, "merges", _MERGES),
        (names.auditor, "auditor", _STRING),
        (names.layout, "layout", _STRING),
        (names.secret, "secret", _SECRET),
        (names.revoked, "revoked", _STREAM),
        (names.trail, "audit", _STREAM),
    ]
    return [
        Use((command, key, *rest), f"keys {names.root}{pattern}")
        for key, pattern, words in used
        for command, *rest in words
    ] + [
        Use(("EVALSHA", "0" * 40, 1, names.nowhere_key()), f"keys {names.root}nowhere*"),
        *(Use(words) for words in _KEYLESS),
    ]


def channel_uses(names: Namespace, *, sharded: bool) -> list[Use]:
    """All commands on its channels. Subscriptions come last: other commands are not answered after them."""
    prefix, suffix = "S" if sharded else "", names.channel_suffix.decode()
    channels = [
        (names.item_channel("", ""), f"channels {names.root}{{*{suffix}"),
        (names.visitor_channel("", b""), f"channels {names.root}me:*{suffix}"),
        (names.heartbeat_channel("start"), f"channels {names.root}pulse:*{suffix}"),
    ]
    return [
        *(Use((f"{prefix}PUBLISH", channel, b""), pattern) for channel, pattern in channels),
        *(Use((f"{prefix}SUBSCRIBE", channel), pattern) for channel, pattern in channels),
        Use((f"{prefix}UNSUBSCRIBE", channels[0][0])),
    ]


def needed_uses(
    names: Namespace, *, sharded: bool, replicas: int, database: int = 0, client_name: str | None = None
) -> list[Use]:
    """All commands that are ever used, those included that only some settings need."""
    optional = []
    if sharded:
        optional += [Use(("CLUSTER", "SLOTS")), Use(("ASKING",))]
    if replicas:
        optional.append(Use(("WAIT", 0, 1)))
    if database:
        optional.append(Use(("SELECT", database)))
    if client_name:
        optional.append(Use(("CLIENT", "SETNAME", client_name)))
    return [*optional, *data_uses(names), *channel_uses(names, sharded=sharded)]


def describe(refused: Iterable[Use]) -> str:
    """The missing rights, in words."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for use in refused:
        if use.command not in by_name[use.on]:
            by_name[use.on].append(use.command)
    parts = (f"{', '.join(commands)}{on and ' on '}{on}" for on, commands in by_name.items())
    return (
        f"the engine's user may not run {'; '.join(parts)}: docs/configuration.md has the smallest access "
        "list that serves"
    )


async def refused(
    connection: AbstractConnection, names: Namespace, *, sharded: bool, replicas: int
) -> list[Use]:
    """The commands that are needed and refused. The connection is a new one, and is closed.

    Raises:
        RedisError, OSError: it does not answer, or is loading its data.
    """
    # Both are sent on connecting, where a refusal would end the connection.
    database, client_name = int(connection.db), connection.client_name
    connection.db, connection.client_name = 0, None
    uses = needed_uses(names, sharded=sharded, replicas=replicas, database=database, client_name=client_name)
    try:
        async with asyncio.timeout(TIMEOUT):
            await connection.connect()
            await connection.send_packed_command(connection.pack_commands([use.words for use in uses]))
            replies = [await _reply(connection) for _ in uses]
    finally:
        await connection.disconnect(nowait=True)
    found = [use for use, reply in zip(uses, replies, strict=True) if _is_refusal(reply)]
    loading = next((reply for reply in replies if isinstance(reply, BusyLoadingError)), None)
    if loading is not None and not found:
        raise loading
    return found


async def _reply(connection: AbstractConnection) -> Any:
    """The next reply, errors included. A message that another starting server publishes is skipped."""
    while True:
        try:
            reply = await connection.read_response(disconnect_on_error=False)
        except (ResponseError, BusyLoadingError) as error:
            return error
        if not (isinstance(reply, list) and reply and reply[0] in _MESSAGES):
            return reply


def _is_refusal(reply: Any) -> bool:
    # Managed services remove commands by renaming them; that error has no code of its own.
    return isinstance(reply, NoPermissionError) or (
        isinstance(reply, ResponseError) and str(reply).lower().startswith("unknown command")
    )
