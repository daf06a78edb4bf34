"""The worker processes as the coordinator sees them: started, sent commands, stopped.

Owns the processes. Does not depend on what the messages mean.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

from tallycast_load.plan.errors import LoadError
from tallycast_load.processes import ipc
from tallycast_load.processes.ipc import Begin, Command

STOP_TIMEOUT = 5.0  # s


class WorkerPool:
    """The workers of a run. ``on_event`` is called with a worker's number and its event."""

    def __init__(self, on_event: Callable[[int, ipc.EVENT], None]) -> None:
        self._on_event = on_event
        self._processes: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self._stopping = False
        # Fails when a worker does.
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, begins: Sequence[Begin]) -> None:
        """Start a process for each command."""
        for number, begin in enumerate(begins):
            process = await asyncio.create_subprocess_exec(
                # -P: the working directory may hold modules of the same names.
                *(sys.executable, "-P", "-m", "tallycast_load.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**26,
                start_new_session=True,
            )
            self._processes.append(process)
            self._readers.append(asyncio.create_task(self._read(number, process)))
            self._send(process, begin)

    def broadcast(self, command: Command) -> None:
        """Send a command to all workers."""
        for process in self._processes:
            self._send(process, command)

    async def stop(self) -> None:
        """Stop all workers: each ends when its standard input closes."""
        self._stopping = True
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(_wait_or_kill(process) for process in self._processes))
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()

    def _send(self, process: asyncio.subprocess.Process, command: Command) -> None:
        assert process.stdin is not None
        if not process.stdin.is_closing():
            process.stdin.write(ipc.pack(command))

    async def _read(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while (event := await ipc.next_event(process.stdout)) is not None:
            if isinstance(event, ipc.Failed):
                self._fail(event.message)
            else:
                self._on_event(number, event)
        status = await process.wait()
        if not self._stopping:
            self._fail(f"process {number + 1} of the harness ended with status {status}")

    def _fail(self, message: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(LoadError(message))


async def _wait_or_kill(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
