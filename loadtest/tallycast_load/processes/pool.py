"""The worker processes, seen from the coordinator: started, told, heard, ended.

Owns the processes. Must not know what the words mean.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

from tallycast.contract.errors import LoadError

from tallycast_load.processes import ipc
from tallycast_load.processes.ipc import Begin, Order

STOP_WAIT = 5.0


class Fleet:
    """``heard`` is called with a worker's number and its word."""

    def __init__(self, heard: Callable[[int, ipc.WORD], None]) -> None:
        self._heard = heard
        self._processes: list[asyncio.subprocess.Process] = []
        self._listeners: list[asyncio.Task[None]] = []
        self._ending = False
        # Fails when a worker does.
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, begins: Sequence[Begin]) -> None:
        """Start a process for each."""
        for number, begin in enumerate(begins):
            process = await asyncio.create_subprocess_exec(
                # -P: a folder named "server" where somebody happens to be is none of ours.
                *(sys.executable, "-P", "-m", "tallycast_load.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**26,
                start_new_session=True,
            )
            self._processes.append(process)
            self._listeners.append(asyncio.create_task(self._listen(number, process)))
            self._tell(process, begin)

    def tell(self, order: Order) -> None:
        """Tell all."""
        for process in self._processes:
            self._tell(process, order)

    async def stop(self) -> None:
        """End all processes: each ends with its pipe."""
        self._ending = True
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(_end(process) for process in self._processes))
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()

    def _tell(self, process: asyncio.subprocess.Process, order: Order) -> None:
        assert process.stdin is not None
        if not process.stdin.is_closing():
            process.stdin.write(ipc.packed(order))

    async def _listen(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while (word := await ipc.next_word(process.stdout)) is not None:
            if isinstance(word, ipc.Failed):
                self._fail(word.why)
            else:
                self._heard(number, word)
        status = await process.wait()
        if not self._ending:
            self._fail(f"process {number + 1} of the harness ended with status {status}")

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(LoadError(why))


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), STOP_WAIT)
    except TimeoutError:
        process.kill()
        await process.wait()
