"""A small server that implements the contract, except where its faults say otherwise.

Owns its few items in memory. Written from the contract alone; WebSocket (JSON) and event stream.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qsl

import jwt
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.load.fake_watcher import Watcher

KINDS = ("like", "dislike")


@dataclass
class Item:
    held: dict[str, str] = field(default_factory=dict)
    version: int = 0

    @property
    def counts(self) -> dict[str, int]:
        counter = Counter(self.held.values())
        return {kind: counter[kind] for kind in KINDS}


@dataclass
class Faults:
    """Its faults, each on the n-th occasion (from 1); 0: never."""

    lose_reactions_from: int = 0  # acknowledges them, does not store them
    lose_ack: int = 0
    answer_twice: int = 0
    repeat_version: int = 0
    go_down: int = 0
    two_counts: int = 0  # a version comes again, with others
    drop_frames_from: int = 0  # to one watcher, for good
    cut_connection: int = 0
    close_without_code: int = 0
    miscount: int = 0
    garbage: int = 0
    invalid_text: int = 0
    masked: int = 0
    not_watched: int = 0
    wrong_answer: int = 0
    final_close: int = 0  # after which no reader comes back
    goodbye: int = 0
    reset: int = 0  # the store went back, with reset
    odd: bool = False  # everything that is allowed, and rare
    limit_reads: int = 0  # so many are answered 429
    fail_reads_from: int = 0
    other_items: bool = False  # than those requested
    refuse: int = 0
    full_from_the_start: bool = False
    close_after: int = 0  # closes the connection with a code after this reaction, and accepts no other
    limit_new_visitors: bool = False
    ack_delay: Callable[[int], float] = lambda _: 0.0  # of the n-th reaction, seconds
    update_delay: Callable[[int], float] = lambda _: 0.0


class Fake:
    """``async with Fake(faults) as fake``: it listens at ``fake.url``."""

    def __init__(self, faults: Faults | None = None, key: str | None = None) -> None:
        self.faults = faults or Faults()
        self.key = key
        self.items: dict[str, Item] = {}
        self.url = ""
        self.visitors: set[str] = set()
        self.reactions = 0
        # When the n-th reaction was acknowledged, and when it was published (seconds, monotonic).
        self.acked: dict[int, float] = {}
        self.published: dict[int, float] = {}
        self.full = self.faults.full_from_the_start
        self._watchers: list[Watcher] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._created = 0
        self._reads = 0
        self._frames = 0
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.die()
        await asyncio.sleep(0)

    def die(self) -> None:
        """Refuse new connections and cut off the others."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    # HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (text.partition(":") for text in lines if text)
                }
                method, target, _ = line.split(" ")
                path, _, query = target.partition("?")
                if path in ("/ws", "/v1/stream") and self.full:
                    writer.write(b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
                    return
                if path == "/ws":
                    await self._socket(head, reader, writer)
                    return
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                items = [value for name, value in parse_qsl(query) if name == "item"]
                if path == "/metrics":
                    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self._exposition())
                    return
                if path == "/v1/stream":
                    await self._stream(items, reader, writer)
                    return
                token = headers.get("authorization", "").removeprefix("Bearer ")
                status, answer = await self._answer(method, path, items, token, body)
                payload = json.dumps(answer).encode()
                start = f"HTTP/1.1 {status} X\r\nRetry-After: 1\r\nContent-Length: {len(payload)}\r\n\r\n"
                writer.write(start.encode() + payload)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, method: str, path: str, items: list[str], token: str, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if path == "/v1/visitors":
            if self.faults.limit_new_visitors:
                return 429, {"code": "rate_limited"}
            self._created += 1
            return 201, {"visitor": f"a:{self._created}", "token": f"a:{self._created}", "expires": 0}
        visitor = self._authenticate(token)
        if path == "/v1/items" and self.faults.limit_reads > 0:
            self.faults.limit_reads -= 1
            return 429, {"code": "rate_limited"}
        if path == "/v1/items":
            self._reads += 1
            if 0 < self.faults.fail_reads_from <= self._reads:
                return 500, {"code": "internal"}
            shown = [self._shown(item, visitor) for item in items]
            return 200, {"items": shown[::-1] if self.faults.other_items else shown}
        if path == "/v1/reaction" and method == "PUT" and visitor is not None:
            reaction = json.loads(body)["reaction"]
            version, counts = self.react(items[0], visitor, reaction)
            await asyncio.sleep(self.faults.ack_delay(self.reactions))
            return 200, {"item": items[0], "reaction": reaction, "version": version, "counts": counts}
        return 404, {"code": "bad_message"}

    def _exposition(self) -> bytes:
        return f"# TYPE fake_reactions counter\nfake_reactions_total {self.reactions}\n".encode()

    def _authenticate(self, token: str) -> str | None:
        if not token:
            return None
        if self.key is not None:
            claims = jwt.decode(
                token, self.key, ["HS256"], audience="default", options={"require": ["sub", "exp", "iat"]}
            )
            visitor = f"u:{claims['sub']}"
        else:
            visitor = token
        self.visitors.add(visitor)
        return visitor

    def _shown(self, name: str, visitor: str | None) -> dict[str, Any]:
        item = self.items.setdefault(name, Item())
        counts = item.counts
        if self.faults.miscount and item.version:
            counts["like"] += self.faults.miscount
        return {
            "item": name,
            "version": item.version,
            "counts": counts,
            "reaction": item.held.get(visitor or ""),
        }

    # Reactions

    def react(self, name: str, visitor: str, reaction: str | None) -> tuple[int, dict[str, int]]:
        """A visitor's reaction: the item's version and counts from then on."""
        item = self.items.setdefault(name, Item())
        self.reactions += 1
        if item.held.get(visitor) == reaction:
            return item.version, item.counts
        before = item.held.get(visitor)
        self._hold(item, visitor, reaction)
        item.version = max(item.version + 1, int(time.time() * 1e6))
        if 0 < self.faults.lose_reactions_from <= self.reactions:
            self._hold(item, visitor, before)
        counts = item.counts
        publish = partial(self._publish, self.reactions, name, item.version, counts)
        delay = self.faults.update_delay(self.reactions)
        if delay:
            asyncio.get_running_loop().call_later(delay, publish)
        else:
            publish()
        return item.version, counts

    def _hold(self, item: Item, visitor: str, reaction: str | None) -> None:
        if reaction is None:
            item.held.pop(visitor, None)
        else:
            item.held[visitor] = reaction

    def _publish(self, number: int, name: str, version: int, counts: dict[str, int]) -> None:
        self.published[number] = time.monotonic()
        message = {"type": "counts", "item": name, "version": version, "counts": counts}
        for watcher in list(self._watchers):
            if name in watcher.items and not watcher.muted:
                self._send_update(watcher, message)

    def _send_update(self, watcher: Watcher, message: dict[str, Any]) -> None:
        self._frames += 1
        if not self._replace(watcher, message):
            watcher.send("counts", message)
            self._send_extra(watcher, message)

    def _replace(self, watcher: Watcher, message: dict[str, Any]) -> bool:
        """What it does in place of bringing a frame; whether it did."""
        faults, now = self.faults, self._frames
        if faults.drop_frames_from and now >= faults.drop_frames_from:
            watcher.muted = not any(other.muted for other in self._watchers)
            return watcher.muted
        if faults.odd:
            watcher.send_oddly(message)
        elif now == faults.cut_connection:
            watcher.writer.transport.abort()
        elif now == faults.close_without_code:
            watcher.close(None)
        elif now == faults.final_close:
            watcher.close(4500)
        elif now == faults.goodbye:
            watcher.send("bye", {"type": "bye", "retry_after": 0.1})
            watcher.close(1012)
        elif now == faults.masked:
            text = Frame(Opcode.TEXT, json.dumps(message).encode())
            watcher.writer.write(text.serialize(mask=True))
        else:
            return False
        return True

    def _send_extra(self, watcher: Watcher, message: dict[str, Any]) -> None:
        """What it says after the frame, and should not."""
        faults, now = self.faults, self._frames
        if now == faults.garbage:
            watcher.send("counts", "what?")
        if now == faults.invalid_text:
            watcher.writer.write(Frame(Opcode.TEXT, b'{"type":"\xff"}').serialize(mask=False))
        if now == faults.not_watched:
            watcher.send("counts", {**message, "item": "another's"})
        if now == faults.repeat_version:
            watcher.send("counts", message)
        if now == faults.two_counts:
            watcher.send("counts", {**message, "counts": {"like": 999, "dislike": 0}})
        if now == faults.reset:
            watcher.send("counts", {**message, "version": message["version"] - 1, "reset": True})
        if now == faults.go_down:
            watcher.send("counts", {**message, "version": message["version"] - 1})

    # Event stream

    async def _stream(
        self, items: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.faults.odd:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )

        def send(kind: str, message: Any) -> None:
            event = f"event: {kind}\r\ndata: {json.dumps(message)}\r\n\r\n".encode()
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

        watcher = Watcher(writer, send, socket=False)
        watcher.items = set(items)
        for item in items:
            shown = self._shown(item, None)
            send("counts", {"type": "counts", **{key: shown[key] for key in ("item", "version", "counts")}})
        self._watchers.append(watcher)
        try:
            await reader.read()
        finally:
            self._watchers.remove(watcher)

    # WebSocket

    async def _socket(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = ServerProtocol(subprotocols=["tallycast.v1.json"])  # type: ignore[list-item]
        core.receive_data(head)
        (request,) = core.events_received()
        assert isinstance(request, Request)
        core.send_response(core.accept(request))

        def flush() -> None:
            for data in core.data_to_send():
                if data and not writer.is_closing():
                    writer.write(data)

        def send(_: str, message: Any) -> None:
            if core.state.name == "OPEN":
                core.send_text(json.dumps(message).encode())
                flush()

        flush()
        watcher = Watcher(writer, send, socket=True)
        self._watchers.append(watcher)
        try:
            while data := await reader.read(65536):
                core.receive_data(data)
                for event in core.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                        self._on_message(watcher, json.loads(event.data))
                flush()
                if core.state.name == "CLOSING":
                    return
        finally:
            self._watchers.remove(watcher)

    def _on_message(self, watcher: Watcher, message: dict[str, Any]) -> None:
        ref = message["ref"]
        match message["type"]:
            case "auth":
                watcher.visitor = self._authenticate(message["token"])
                watcher.send("", {"type": "ready", "visitor": watcher.visitor, "ref": ref})
            case "watch":
                for name in message["items"]:
                    shown = self._shown(name, None)
                    if message.get("since", {}).get(name) != shown["version"]:
                        fields = {key: shown[key] for key in ("item", "version", "counts")}
                        watcher.send("", {"type": "counts", **fields})
                    watcher.items.add(name)
                watcher.send("", {"type": "watching", "ref": ref})
            case "react":
                self._on_react(watcher, message, ref)

    def _on_react(self, watcher: Watcher, message: dict[str, Any], ref: int) -> None:
        assert watcher.visitor is not None
        number = self.reactions + 1
        if number == self.faults.refuse:
            self.reactions += 1
            watcher.send("", {"type": "error", "code": "rate_limited", "message": "no", "ref": ref})
            return
        version, counts = self.react(message["item"], watcher.visitor, message["reaction"])
        if number == self.faults.lose_ack:
            return
        fields = {key: message[key] for key in ("item", "reaction")}
        if number == self.faults.wrong_answer:
            fields["reaction"] = "like" if message["reaction"] != "like" else "dislike"
        ack = {"type": "ack", "ref": ref, **fields, "version": version, "counts": counts}
        delay = self.faults.ack_delay(number)
        loop = asyncio.get_running_loop()
        for _ in range(2 if number == self.faults.answer_twice else 1):
            loop.call_later(delay, self._acknowledge, watcher, number, ack)

    def _acknowledge(self, watcher: Watcher, number: int, ack: dict[str, Any]) -> None:
        self.acked[number] = time.monotonic()
        watcher.send("", ack)
        if number == self.faults.close_after:
            self.full = True
            watcher.close(4001)
