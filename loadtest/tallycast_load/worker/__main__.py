"""The entry point of a worker process: commands on standard input, events on standard output.

Owns the two pipes. A worker ends when its coordinator does.
"""

import asyncio
import os
import signal
import sys

import uvloop

from tallycast_load.plan.errors import LoadError
from tallycast_load.processes import ipc, machine
from tallycast_load.processes.ipc import Begin
from tallycast_load.worker.worker import Worker


async def _run() -> None:
    reader, writer = await _pipes()
    begin = await ipc.next_command(reader)
    if not isinstance(begin, Begin):
        return
    try:
        worker = Worker(begin, lambda event: writer.write(ipc.pack(event)))
        await worker.prepare()
    except LoadError as error:
        writer.write(ipc.pack(ipc.Failed(str(error))))
        await writer.drain()
        return
    while (command := await ipc.next_command(reader)) is not None:
        worker.execute(command)
        await writer.drain()
    worker.close()
    # The close frames are sent in the next turn of the loop.
    await asyncio.sleep(0.05)


async def _pipes() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(os.dup(1), "wb")
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def main() -> None:
    """Run a worker until its standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    machine.raise_priority()
    uvloop.run(_run())


if __name__ == "__main__":
    main()
