"""Whole connections on a hub, over sockets that are soon full: what a peer reads is whole, rising, complete.

Sessions, sockets, outbox and hub are the real ones, and so is the socket pair below each connection. The loop
is moved by hand, so that updates, full buffers, drains, watches and the end come in every order.
"""

import json
import socket
from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tallycast.domain.addresses import Client
from tallycast.fanout.hub import Hub
from tallycast.ledger.reader import Query, State
from tallycast.transport.websocket.protocol import Socket
from websockets.frames import Frame, Opcode

from tests.support.names import NAMES
from tests.support.parts import Parts, ignore
from tests.web.test_socket import REQUEST, Transport

ITEMS = "ab"
PEERS = 2
# The kernel's least: some frames fit.
SEND_BUFFER = 2048
# What may wait above the kernel for a peer that does not read: an update of each item, and the answers to
# what it had sent before it stopped.
AT_MOST = 1024


class Narrow(Transport):
    """A transport over a socket that takes little, with flow control as asyncio does it."""

    def __init__(self) -> None:
        super().__init__()
        self.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.protocol: Socket
        self.full = False

    def write(self, data: Any) -> None:
        super().write(data)
        if not self.full:
            self.full = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def writable(self) -> None:
        """The kernel takes some more."""
        if not self.full:
            return
        try:
            del self.waiting[: self.get_extra_info("socket").send(self.waiting)]
        except BlockingIOError:
            return
        if not self.waiting:
            self.full = False
            self.protocol.resume_writing()


UNKNOWN_CLIENT = Client("", forwarded=False)


class Peer:
    """The other end: what it asked for, and what it was shown of each item it watches."""

    def __init__(self, parts: Parts) -> None:
        state: Any = SimpleNamespace(connections=set())
        self.transport = Narrow()
        self.socket = Socket(parts.websockets, config=None, server_state=state, app_state=None)
        self.transport.protocol = self.socket
        self.socket.connection_made(self.transport)
        self.socket.upgraded(REQUEST, parts.admission.add_connection(None), UNKNOWN_CLIENT)
        self.data = bytearray(self.transport.received().partition(b"\r\n\r\n")[2])
        self.watched: dict[str, int] = {}
        self.wanted: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.over = False

    def toggle(self, item: str) -> None:
        """Watch the item, or watch it no more."""
        if not self.transport.reading:
            return  # the server does not read either
        if item in self.wanted:
            self.wanted.discard(item)
            message = {"type": "unwatch", "items": [item], "ref": ITEMS.index(item)}
        else:
            self.wanted.add(item)
            self.asked[item] += 1
            message = {"type": "watch", "items": [item]}
        self.socket.data_received(Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True))

    def read(self, size: int) -> None:
        """Read so many bytes, and look at what is whole."""
        try:
            self.data += self.transport.peer.recv(size)
        except BlockingIOError:
            pass
        while len(self.data) >= 2 and len(self.data) >= 2 + self.data[1]:
            assert self.data[0] == 0x81
            assert self.data[1] < 126
            self._receive(json.loads(self.data[2 : 2 + self.data[1]]))
            del self.data[: 2 + self.data[1]]

    def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "unwatched":
            del self.watched[ITEMS[message["ref"]]]
        elif message["type"] == "counts":
            item, version = message["item"], message["version"]
            assert message["counts"]["like"] == version, "one version means one set of counts"
            if item in self.watched and message.get("reset"):
                assert version < self.watched[item], "the store went back"
            elif item in self.watched:
                assert version > self.watched[item], "versions rise"
            else:
                assert self.asked[item] > 0, "nothing comes of what is not watched"
                self.asked[item] -= 1
            self.watched[item] = version
        else:
            assert message["type"] == "watching", message

    def close_gracefully(self) -> None:
        """The end of the connection."""
        self.over = True
        self.socket.connection_lost(None)


class Scene:
    """A hub, a store and some peers."""

    def __init__(self) -> None:
        self.turns: list[Any] = []
        self.queries: list[Query] = []
        self.version = dict.fromkeys(ITEMS, 0)
        self.hub = Hub(NAMES.item_channel, ignore, ignore, lambda _, call: self.turns.append(call))
        parts = Parts(
            lambda: 0.0,
            hub=self.hub,
            flush_soon=self.turns.append,
            read=self.queries.append,
            soon=self.turns.append,
        )
        self.peers = [Peer(parts) for _ in range(PEERS)]

    def act(self, kind: str, item: str, number: int) -> None:
        peer = self.peers[number % PEERS]
        if kind == "publish":
            for _ in range(number):
                self.version[item] += 1
                version = self.version[item]
                self.hub.publish(NAMES.item_channel("default", item), version, {"like": version})
                self.turn()
        elif kind == "back" and self.hub.version(NAMES.item_channel("default", item)) == self.version[item]:
            version = self.version[item] = self.version[item] * number // 4
            channel = NAMES.item_channel("default", item)
            self.hub.reconcile(channel, version, {"like": version}, self.hub.version(channel))
        elif kind == "answer" and self.queries:
            query = self.queries.pop(0)
            query.done([State(self.version[i], {"like": self.version[i]}, None) for i in query.items])
        elif kind == "turn":
            self.turn()
        elif kind == "watch" and not peer.over:
            peer.toggle(item)
        elif kind == "read":
            peer.read(number)
        elif kind == "writable":
            peer.transport.writable()
        elif kind == "leave" and not peer.over:
            peer.close_gracefully()

    def turn(self) -> None:
        turns = self.turns[:]
        self.turns.clear()
        for call in turns:
            call()

    def settle(self) -> None:
        """Everybody reads everything."""
        for _ in range(10_000):
            self.act("answer", "", 0)
            self.turn()
            staying = [peer for peer in self.peers if not peer.over]
            for peer in staying:
                peer.read(1 << 20)
                peer.transport.writable()
            if not (self.turns or self.queries or any(peer.transport.waiting for peer in staying)):
                break
        for peer in self.peers:
            peer.read(1 << 20)

    def end(self) -> None:
        for peer in self.peers:
            peer.transport.end()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(ITEMS), st.integers(1, 60)),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), st.integers(0, PEERS - 1)),
        st.tuples(st.just("watch"), st.sampled_from(ITEMS), st.integers(0, PEERS - 1)),
        st.tuples(st.just("back"), st.sampled_from(ITEMS), st.integers(0, 3)),
        st.tuples(st.just("answer"), st.just(""), st.just(0)),
        st.tuples(st.just("turn"), st.just(""), st.just(0)),
        st.tuples(st.just("read"), st.just(""), st.integers(1, 3000)),
        # Not at once: the loop looks at sockets in its own time.
        st.tuples(st.just("writable"), st.just(""), st.integers(0, PEERS - 1)),
        st.tuples(st.just("leave"), st.just(""), st.integers(0, PEERS - 1)),
    ),
    # Hypothesis makes short lists by itself, in which nothing comes together.
    min_size=20,
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_what_a_peer_reads_is_whole_rising_and_complete(events: list[tuple[str, str, int]]) -> None:
    scene = Scene()
    try:
        for event in events:
            scene.act(*event)
            for peer in scene.peers:
                assert len(peer.transport.waiting) <= AT_MOST, (
                    "bounded by its items, not by how fast they change"
                )
        scene.settle()
        for peer in scene.peers:
            assert not peer.socket._stale, "nothing is kept for a peer that has read all, or left"
            if not peer.over:
                assert peer.data == b""
                assert peer.watched == {item: scene.version[item] for item in peer.wanted}
    finally:
        scene.end()
