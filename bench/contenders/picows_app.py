"""A loop over the transports of picows, a WebSocket server in Cython, on uvloop."""

from collections import defaultdict

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.contenders.common import group_of, port

groups: defaultdict[str, set[WSTransport]] = defaultdict(set)


class Listener(WSListener):
    """One connection."""

    def __init__(self, group: set[WSTransport]) -> None:
        super().__init__()
        self.group = group

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Join the group after the handshake."""
        self.group.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a payload to its group."""
        if frame.msg_type == WSMsgType.TEXT:
            name, _, payload = frame.get_payload_as_bytes().partition(b"|")
            text = WSMsgType.TEXT
            for member in groups[name.decode()]:
                member.send(text, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave the group."""
        self.group.discard(transport)


def listener(request: WSUpgradeRequest) -> Listener:
    """Return a listener for the group that the path names."""
    return Listener(groups[group_of(request.path.decode())])


async def main() -> None:
    """Serve until killed."""
    server = await ws_create_server(listener, "127.0.0.1", port(), read_buffer_init_size=1024, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
