"""A network between a server and its engine, that fails as the test wants.

Runs in the test's event loop. Every connection is passed on byte for byte until it is told otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

# Looks at what the server sent since the last reply: whether the reply is lost, and the connection with it.
Loses = Callable[[bytes], bool]
# Looks at what a connection was used for at first: whether it is one of those.
Which = Callable[[bytes], bool]


def feeds(asked: bytes) -> bool:
    """Whether a connection is for what the engine publishes."""
    return b"SUBSCRIBE" in asked


class Proxy:
    """``url`` is where the server finds the engine."""

    def __init__(self, engine_url: str) -> None:
        self.url = ""
        # Where new connections lead.
        self.engine_url = engine_url
        # How many replies were lost after the engine had done what was asked.
        self.lost = 0
        self.loses: Loses = lambda request: False
        self._open = asyncio.Event()
        self._open.set()
        self._held: Which = lambda asked: True
        self._links: set[_Link] = set()

    def hold(self, which: Which = lambda asked: True) -> None:
        """A black hole: nothing comes through any more on those connections, and neither end is told."""
        self._held = which
        self._open.clear()

    def release(self) -> None:
        """What was held comes through now."""
        self._open.set()

    def cut(self, which: Which = lambda asked: True) -> int:
        """End the connections on which that was asked at first; how many there were."""
        links = [link for link in self._links if which(link.first)]
        for link in links:
            link.close()
        return len(links)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the server's."""
        try:
            engine = await _connect(self.engine_url)
        except OSError:
            writer.close()
            return
        link = _Link(self, reader, writer, *engine)
        self._links.add(link)
        try:
            await asyncio.gather(link.ask(), link.answer())
        except OSError:
            pass
        finally:
            self._links.discard(link)
            link.close()

    async def passage(self, first: bytes) -> None:
        """Wait until something may come through on a connection on which that was asked at first."""
        if self._held(first):
            await self._open.wait()


class _Link:
    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        engine_reader: asyncio.StreamReader,
        engine_writer: asyncio.StreamWriter,
    ) -> None:
        self.first = b""
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._engine_reader, self._engine_writer = engine_reader, engine_writer
        self._asked = b""

    async def ask(self) -> None:
        while data := await self._reader.read(65536):
            if len(self.first) < 4096:
                self.first += data
            await self._proxy.passage(self.first)
            self._asked += data
            self._engine_writer.write(data)
        self.close()

    async def answer(self) -> None:
        while data := await self._engine_reader.read(65536):
            await self._proxy.passage(self.first)
            asked, self._asked = self._asked, b""
            if self._proxy.loses(asked):
                self._proxy.lost += 1
                break
            self._writer.write(data)
        self.close()

    def close(self) -> None:
        self._writer.close()
        self._engine_writer.close()


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    return await asyncio.open_connection(parts.hostname, parts.port)


@asynccontextmanager
async def between(engine_url: str) -> AsyncIterator[Proxy]:
    """A network to the engine at a ``unix://`` or ``redis://`` URL."""
    proxy = Proxy(engine_url)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, backlog=1024)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.release()
        server.close()
        proxy.cut()
