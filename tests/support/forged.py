"""An engine that answers whatever a test wants it to say of itself."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

NO_PERMISSION = b"-NOPERM this user has no permissions to run the command\r\n"


def info(**lines: str) -> bytes:
    """INFO's answer."""
    return bulk("# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items()))


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


def array(*texts: str) -> bytes:
    return b"*%d\r\n" % len(texts) + b"".join(map(bulk, texts))


@asynccontextmanager
async def forged(replies: Mapping[str, bytes], other: bytes = NO_PERMISSION) -> AsyncIterator[str]:
    """Its URL. ``replies`` are by command in capitals; any ``other`` command is not permitted."""

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            writer.write(replies.get(words[0].decode().upper(), other))
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    # The test has closed its end of each.
    await asyncio.gather(*tasks, return_exceptions=True)
