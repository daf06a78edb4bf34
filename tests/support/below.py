"""A reverse proxy that serves a server below a path, and takes the path off or not.

Runs in the test's event loop. One request a connection; what follows an upgrade is passed on byte for byte.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


@asynccontextmanager
async def below(server: str, path: str, *, strips: bool) -> AsyncIterator[str]:
    """The URL at which a server is reached below ``path``, which has a slash at both ends.

    What is not below it is answered 404.
    """
    to = urlsplit(server)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line, rest = head.split(b"\r\n", 1)
            method, target, version = line.split()
            if not target.startswith(path.encode()):
                writer.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            if strips:
                target = target[len(path) - 1 :]
            if b"upgrade: websocket" not in rest.lower():
                rest = b"Connection: close\r\n" + re.sub(rb"(?im)^connection: .*\r\n", b"", rest)
            to_server = await asyncio.open_connection(to.hostname, to.port)
            to_server[1].write(b"%s %s %s\r\n%s" % (method, target, version, rest))
            await asyncio.gather(_pass_on(reader, to_server[1]), _pass_on(to_server[0], writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}{path.rstrip('/')}"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
