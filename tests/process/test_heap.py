"""Memory that is free goes back to the system, also where nothing shows that there is any."""

import subprocess
import sys

# What is in use when it is looked at first is free later, below something that is not.
PROGRAM = """
import asyncio
from tallycast.process import heap as memory

memory.CHECK_INTERVAL = 0.05
memory.MAX_INTERVAL = 0.2
looked = 0
resident = memory.resident


def counted():
    global looked
    looked += 1
    return resident()


memory.resident = counted


async def main():
    keeping = asyncio.create_task(memory.trim_heap())
    some = [bytes(5000) for _ in range(20_000)]
    last = bytes(5000)
    async with asyncio.timeout(30):
        while looked < 3:
            await asyncio.sleep(0.01)
    with_all = resident()
    del some
    async with asyncio.timeout(30):
        while resident() > with_all - 50 * 2**20:
            await asyncio.sleep(0.05)
    keeping.cancel()
    print("small again", len(last))


asyncio.run(main())
"""


def test_what_is_free_is_given_back() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == "small again 5000\n", run.stderr
