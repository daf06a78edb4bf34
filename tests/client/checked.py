"""A client of the contract, in both subprotocols, that checks all that it receives.

Every message is held against the contract: field types, no nulls, echoed refs, exactly one answer each, every
kind counted, versions that only rise, one version one set of counts. What breaks it raises `ViolationError`
from the next call on that client, or at the latest when it is closed. Nothing here sleeps: each wait has a
deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed

from . import websocket
from .messages import (
    ANSWERS,
    DEADLINE,
    JSON,
    ZERO,
    Frame,
    GoneError,
    Server,
    check_shape,
    decode,
    demand,
    encode,
    query,
)
from .websocket import Connection


@dataclass
class Shown:
    """What a page shows for one item."""

    version: int
    counts: dict[str, int]


@dataclass
class Mine:
    """What this visitor holds on one item, and as of which version."""

    version: int
    reaction: str | None


@dataclass
class Sent:
    """A message with a ref that is still to be answered."""

    message: Frame
    identity: int
    missing: set[str] = field(default_factory=set)  # a watch: items whose snapshot has not come


@dataclass
class Watched:
    """The answer to a watch: its snapshots, then `mine`s, by item, and the `watching` at its end."""

    counts: dict[str, Frame]
    mine: dict[str, Frame]
    frame: Frame


class Client:
    """One socket. `shown` and `mine` are what a page would display, kept by the contract's rules."""

    def __init__(self, ws: Connection, protocol: str, items: Iterable[str] = ()) -> None:
        self.ws = ws
        self.protocol = protocol
        self.frames: list[Frame] = []  # all that came, in order
        self.shown: dict[str, Shown] = {}
        self.mine: dict[str, Mine] = {}
        self.watched: set[str] = set(items)
        self.visitor: str | None = None
        self.noisy = False  # noise was sent: what it asked for, and with which refs, is unknown
        self._taken: set[int] = set()
        self._sent: dict[int, Sent] = {}
        self._raw_refs: set[int] = set()  # refs inside raw bytes
        self._last: dict[str, int] = {}  # the version of the last `counts` of each item
        self._acked_by: dict[str, int] = {}  # the identity that the last ack of an item was for
        self._fresh: set[str] = set()  # items with a `mine` since the last answer that would bring one
        self._identity = 0
        self._ref = 0
        self._broken: BaseException | None = None
        self._over = False
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    # ------------------------------------------------------------------------------------ sending

    async def raw(self, data: str | bytes, *, ref: int | None = None, text: bool | None = None) -> None:
        """Send these very bytes; `ref` is the one inside, if any, so that its echo is expected."""
        if ref is not None:
            self._raw_refs.add(ref)
        await self.ws.send(data, text=text)

    async def send(self, message: object, *, ref: int | None = None) -> None:
        """Send any value, without book-keeping."""
        await self.raw(encode(message, self.protocol), ref=ref)

    async def post(self, kind: str, /, **fields: Any) -> int:
        """Send a message with a ref of its own, await nothing, return the ref."""
        ref = fields.pop("ref", None)
        if ref is None:
            self._ref += 1
            ref = self._ref
        message = {"type": kind, **fields, "ref": ref}
        if kind == "auth":
            self._identity += 1
        sent = self._sent[ref] = Sent(message, self._identity)
        if kind == "watch" and isinstance(fields.get("items"), list):
            sent.missing = set(fields["items"]) - set(fields.get("since", {}))
        await self.ws.send(encode(message, self.protocol))
        return ref

    async def answer(self, ref: int, within: float = DEADLINE) -> Frame:
        return await self.next(within=within, ref=ref)

    async def ask(self, kind: str, /, **fields: Any) -> Frame:
        """Send a message and await its answer, which may be an error."""
        return await self.answer(await self.post(kind, **fields))

    async def get(self, kind: str, /, **fields: Any) -> Frame:
        """Send a message and await its answer, which may not be an error."""
        frame = await self.ask(kind, **fields)
        assert frame["type"] == ANSWERS[kind], frame
        return frame

    async def refused(self, kind: str, /, *codes: str, **fields: Any) -> Frame:
        """Send a message that must be refused with one of these codes."""
        frame = await self.ask(kind, **fields)
        assert frame["type"] == "error", frame
        assert frame["code"] in codes, frame
        return frame

    async def auth(self, token: str) -> Frame:
        return await self.get("auth", token=token)

    async def react(self, item: str, reaction: str | None) -> Frame:
        return await self.get("react", item=item, reaction=reaction)

    async def unwatch(self, *items: str) -> Frame:
        return await self.get("unwatch", items=list(items))

    async def ping(self) -> Frame:
        return await self.get("ping")

    async def watch(self, *items: str, since: dict[str, int] | None = None) -> Watched:
        before = len(self.frames)
        fields: dict[str, Any] = {"items": list(items)} | ({} if since is None else {"since": since})
        end = await self.get("watch", **fields)
        came = self.frames[before : self.frames.index(end)]
        return Watched(
            {f["item"]: f for f in came if f["type"] == "counts" and f["item"] in items},
            {f["item"]: f for f in came if f["type"] == "mine" and f["item"] in items},
            end,
        )

    # ------------------------------------------------------------------------------------ waiting

    async def next(self, kind: str | None = None, /, *, within: float = DEADLINE, **fields: Any) -> Frame:
        """The first message not yet taken that has this type and these fields."""
        wanted = dict(fields) if kind is None else {"type": kind, **fields}

        def find() -> Frame | None:
            for i, frame in enumerate(self.frames):
                if i not in self._taken and all(k in frame and frame[k] == v for k, v in wanted.items()):
                    self._taken.add(i)
                    return frame
            return None

        found = await self._wait(find, str(wanted), within)
        assert found is not None
        return found

    async def until(self, condition: Callable[[], object], within: float = DEADLINE) -> None:
        """Wait until what came makes the condition true."""
        await self._wait(lambda: condition() or None, "a condition", within)

    async def until_shows(self, item: str, **counts: int) -> Shown:
        """Wait until the page shows these counts (kinds left out are 0)."""
        want = ZERO | counts
        await self.until(lambda: item in self.shown and self.shown[item].counts == want)
        return self.shown[item]

    async def until_at(self, item: str, version: int) -> Shown:
        """Wait until the page shows this version, or a later one."""
        await self.until(lambda: item in self.shown and self.shown[item].version >= version)
        return self.shown[item]

    async def until_mine(self, item: str, reaction: str | None, at_least: int = 0) -> None:
        def holds() -> bool:
            mine = self.mine.get(item)
            return mine is not None and mine.reaction == reaction and mine.version >= at_least

        await self.until(holds)

    async def closed(self, within: float = DEADLINE) -> int:
        """Wait for the server to close; the close code."""
        async with asyncio.timeout(within):
            await self.ws.wait_closed()
            await self._reader
        self.check()
        assert self.ws.close_code is not None
        return self.ws.close_code

    def check(self) -> None:
        if self._broken is not None:
            raise self._broken

    async def _wait(self, find: Callable[[], Any], what: str, within: float) -> Any:
        try:
            async with asyncio.timeout(within):
                while True:
                    self.check()
                    if (found := find()) is not None:
                        return found
                    if self._over:
                        raise GoneError(f"{what} did not come: {self.ws.close_code} {self.ws.close_reason}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come in {within} s. Last: {self.frames[-8:]}") from None

    # ---------------------------------------------------------------------------------- receiving

    async def _read(self) -> None:
        try:
            async for data in self.ws:
                self._take(decode(data, self.protocol))
        except ConnectionClosed:
            pass
        except Exception as broken:
            self._broken = broken
        finally:
            self._over = True
            self._news.set()

    def _take(self, frame: Frame) -> None:
        check_shape(frame)
        self.frames.append(frame)
        handler = getattr(self, f"_on_{frame['type']}", None)
        if handler is not None:
            handler(frame)
        self._check_ref(frame)
        self._news.set()

    def _check_ref(self, frame: Frame) -> None:
        kind = frame["type"]
        if (kind != "error" and kind not in ANSWERS.values()) or "ref" not in frame:
            return
        ref = frame["ref"]
        if ref in self._raw_refs:
            self._raw_refs.discard(ref)
            return
        sent = self._sent.pop(ref, None)
        if sent is None and self.noisy:
            return
        demand(sent is not None, "an answer to nothing that was asked, or a second one", frame)
        assert sent is not None
        demand(
            kind in ("error", ANSWERS.get(sent.message["type"])), f"not an answer to {sent.message}", frame
        )
        if kind == "ack":
            for name in ("item", "reaction"):
                demand(frame[name] == sent.message[name], f"`{name}` is not that of {sent.message}", frame)

    def _show(self, frame: Frame, *, reset: bool = False) -> None:
        item, version = frame["item"], frame["version"]
        if item in self.watched and (reset or item not in self.shown or version >= self.shown[item].version):
            self.shown[item] = Shown(version, frame["counts"])

    def _on_counts(self, frame: Frame) -> None:
        item, version, reset = frame["item"], frame["version"], "reset" in frame
        awaited = False
        for sent in self._sent.values():
            if sent.message["type"] == "watch" and item in sent.message.get("items", ()):
                awaited = True
                sent.missing.discard(item)
                self.watched.add(item)
        if item in self._last and not (reset or self.noisy):
            last = self._last[item]
            demand(version > last or (awaited and version == last), f"versions rise ({last} before)", frame)
        self._last[item] = version
        if reset and item in self.mine:
            self.mine[item].version = min(version, self.mine[item].version)
        self._show(frame, reset=reset)

    def _on_mine(self, frame: Frame) -> None:
        item = frame["item"]
        self._fresh.add(item)
        if item not in self.mine or frame["version"] >= self.mine[item].version:
            self.mine[item] = Mine(frame["version"], frame["reaction"])

    def _on_ack(self, frame: Frame) -> None:
        item = frame["item"]
        self._show(frame)
        sent = self._sent.get(frame.get("ref", -1))
        if sent is not None:
            self._acked_by[item] = sent.identity
        if item not in self.mine or frame["version"] >= self.mine[item].version:
            self.mine[item] = Mine(frame["version"], frame["reaction"])

    def _on_watching(self, frame: Frame) -> None:
        sent = self._sent.get(frame.get("ref", -1))
        if sent is None:
            return
        demand(not sent.missing, f"no snapshot of {sorted(sent.missing)[:5]} before this", frame)
        for item in set(sent.message["items"]):
            self.watched.add(item)
            shown = self.shown.get(item)
            mine = self.mine.get(item)
            if (
                item not in self._fresh
                and shown
                and (mine is None or mine.version <= self._last.get(item, 0))
            ):
                self.mine[item] = Mine(shown.version, None)
            self._fresh.discard(item)

    def _on_ready(self, frame: Frame) -> None:
        self.visitor = frame["visitor"]
        sent = self._sent.get(frame.get("ref", -1))
        identity = self._identity if sent is None else sent.identity
        for item, mine in self.mine.items():
            if item not in self._fresh and self._acked_by.get(item, -1) < identity:
                mine.reaction = None
        self._fresh.clear()

    def _on_unwatched(self, frame: Frame) -> None:
        sent = self._sent.get(frame.get("ref", -1))
        for item in sent.message["items"] if sent else ():
            self.watched.discard(item)
            self.shown.pop(item, None)


def _connect(server: Server, path: str, protocols: list[str] | None, origin: str | None) -> Any:
    return websocket.connect(
        server.ws_url + path, subprotocols=protocols, origin=origin, close_timeout=DEADLINE
    )


@asynccontextmanager
async def connect(
    server: Server,
    protocol: str | None = JSON,
    item: str | None = None,
    *,
    token: str | None = None,
    origin: str | None = None,
    path: str | None = None,
    offer: list[str] | None = None,
) -> AsyncIterator[Client]:
    """An open socket. With `item`, for that item; with `token`, already authenticated."""
    offer = offer if offer is not None else [protocol] if protocol else None
    path = path or "/ws?" + query(*([] if item is None else [item]))
    async with _connect(server, path, offer, origin) as ws:
        assert ws.response.headers.get("Sec-WebSocket-Extensions") is None, "no compression"
        assert ws.subprotocol == (protocol if offer else None)
        client = Client(ws, protocol or JSON, [] if item is None else [item])
        try:
            if token is not None:
                await client.auth(token)
            yield client
            client.check()
        finally:
            await ws.close()
            await client._reader
    client.check()


async def turned_away(
    server: Server, path: str, *, protocol: str | None = JSON, origin: str | None = None
) -> int:
    """The close code of an upgrade that is accepted and closed at once, with nothing else sent on it."""
    async with _connect(server, path, [protocol] if protocol else None, origin) as ws:
        async with asyncio.timeout(DEADLINE):
            try:
                data = await ws.recv()
            except ConnectionClosed:
                assert ws.close_code is not None
                return ws.close_code
        raise AssertionError(f"sent before the close: {data!r}")
