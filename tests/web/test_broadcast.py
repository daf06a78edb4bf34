"""One frame to many: real sockets, some of them full, gone, or not to be written to."""

import os
import socket
from collections.abc import Iterator

import pytest
from tallycast.contract.codec import JSON
from tallycast.transport.registry import Transport
from tallycast.transport.websocket.broadcast import NO_FD, FdSubscriber, broadcast

FRAME = b"a whole frame"


class Peer(FdSubscriber):
    """A subscriber over a socket; ``rest`` is the part of a frame that it is to send later."""

    def __init__(self) -> None:
        super().__init__(Transport("test", JSON, broadcast))
        self.ours, self.theirs = socket.socketpair()
        for end in (self.ours, self.theirs):
            end.setblocking(False)
        self.fd = self.ours.fileno()
        self.rest = b""

    def overflow(self, rest: bytes) -> None:
        self.rest += rest

    def fill(self) -> None:
        """Write until nothing more goes in."""
        try:
            while True:
                self.ours.send(bytes(65536))
        except BlockingIOError:
            pass

    def received(self) -> bytes:
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    peers = [Peer() for _ in range(8)]
    yield peers
    for peer in peers:
        peer.close()


def test_every_peer_gets_the_same_frame(peers: list[Peer]) -> None:
    assert list(broadcast(FRAME, peers, True)) == []
    assert list(broadcast(b"another", peers, False)) == []
    assert [peer.received() for peer in peers] == [FRAME + b"another"] * 8
    assert list(broadcast(FRAME, [], True)) == []


def test_a_peer_that_cannot_be_written_to_is_given_back_and_holds_up_no_other(peers: list[Peer]) -> None:
    peers[0].fill()
    peers[3].theirs.close()
    peers[4].fill()
    peers[5].fd = NO_FD
    peers[7].fill()
    left = list(broadcast(FRAME, peers, True))
    assert {peers.index(peer) for peer in left} == {0, 3, 4, 5, 7}
    assert len(left) == 5
    assert [peers[at].received() for at in (1, 2, 6)] == [FRAME] * 3
    assert all(FRAME not in peers[at].received() for at in (0, 4, 5, 7))
    assert all(peer.rest == b"" for peer in peers)


def test_a_peer_that_watches_several_waits_for_the_others(peers: list[Peer]) -> None:
    peers[2].watches_many = True
    assert list(broadcast(FRAME, peers, False)) == [peers[2]]
    assert peers[2].received() == b""
    assert list(broadcast(FRAME, peers, True)) == []
    assert peers[2].received() == FRAME


def test_the_rest_of_a_frame_that_did_not_fit_is_handed_on(peers: list[Peer]) -> None:
    frame = os.urandom(8 << 20)
    assert list(broadcast(frame, peers[:2], True)) == []
    for peer in peers[:2]:
        got = b"".join(iter(peer.received, b""))
        assert 0 < len(got) < len(frame)
        assert got + peer.rest == frame
