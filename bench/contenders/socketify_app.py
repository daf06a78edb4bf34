"""The publish and subscribe of socketify: uWebSockets in C++, called from Python.

It runs on libuv alone. ``app.run()`` would also run asyncio's loop and, for a while after each message, poll
without a pause: CPU that sending does not need.
"""

from typing import Any

from socketify import App, OpCode

from bench.contenders.common import port

app = App()


def upgrade(response: Any, request: Any, context: Any) -> None:
    """Accept the opening handshake; the group becomes the connection's user data."""
    response.upgrade(
        request.get_header("sec-websocket-key"),
        request.get_header("sec-websocket-protocol"),
        request.get_header("sec-websocket-extensions"),
        context,
        request.get_query("item"),
    )


def opened(connection: Any) -> None:
    """Join the group after the handshake."""
    group = connection.get_user_data()
    if group:
        connection.subscribe(group)


def message(_: Any, text: str, __: Any) -> None:
    """Send a payload to a group."""
    name, _, payload = text.partition("|")
    app.publish(name, payload, OpCode.TEXT)


if __name__ == "__main__":
    app.ws(
        "/*", {"compression": 0, "idle_timeout": 0, "upgrade": upgrade, "open": opened, "message": message}
    )
    app.listen({"host": "127.0.0.1", "port": port()})
    app.loop.uv_loop.run()
