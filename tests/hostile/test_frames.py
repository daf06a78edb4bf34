"""The server's socket layer, frame by frame, as the Autobahn test suite would have it: see ``cases``."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlunsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from tests.client.websocket import Connection, close_frame, connect
from tests.hostile.cases import INVALID_DATA, NORMAL, PROTOCOL_ERROR, SECTIONS, Case, cases
from tests.hostile.echo import echoing

TABLE = Path(__file__).parents[2] / "docs" / "frames.md"
ALL = list(cases())
AT_ONCE = 16
# A case is some bytes; a busy machine is given time.
WITHIN = 30.0


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with echoing() as port:
        yield urlunsplit(("ws", f"127.0.0.1:{port}", "", "", ""))


async def received(line: Connection) -> tuple[list[tuple[int, bytes]], int | None]:
    """The frames until the end of the connection, and the code of the close."""
    found: list[tuple[int, bytes]] = []
    while True:
        try:
            opcode, payload = await line.next_frame()
        except ConnectionClosed:
            return found, None
        if opcode == Opcode.CLOSE:
            return found, int.from_bytes(payload[:2]) if payload else 1005
        found.append((opcode, payload))


async def run(url: str, case: Case) -> str:
    """What is wrong with the answer to a case; nothing, if it is right."""
    async with asyncio.timeout(WITHIN), connect(f"{url}/ws") as line:
        listening = asyncio.create_task(received(line))
        try:
            for piece in case.sent:
                await line.write(piece)
                await asyncio.sleep(0)
            if case.ends is None:
                await line.write(close_frame(NORMAL))
        except ConnectionError:
            pass  # It is closed already, as it may be.
        found, code = await listening
    ends: set[int | None] = {NORMAL if case.ends is None else case.ends}
    right = list(case.received)
    if ends <= {PROTOCOL_ERROR, INVALID_DATA} and len(case.sent) > 1 and code is None:
        # What was still on its way to a connection that is over resets it, and the last words go with that.
        ends, right = {None}, right[: len(found)]
    if found == right and code in ends:
        return ""
    return f"{case.section}: {case.sent!r:.100} … {found!r:.100} and {code}, not {case.ends}"


def table(passed: Counter[str]) -> str:
    """The results, as they are kept in docs."""
    total = Counter(case.section for case in ALL)
    rows = [
        f"| {section} | {what} | {passed[section]} of {total[section]} |"
        for section, what in SECTIONS.items()
    ]
    return "\n".join(["| section | what is tried | passed |", "| --- | --- | --- |", *rows, ""])


async def test_every_case_of_every_section(echo: str) -> None:
    few = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> str:
        async with few:
            return await run(echo, case)

    wrong = await asyncio.gather(*map(one, ALL))
    passed = Counter(case.section for case, what in zip(ALL, wrong, strict=True) if not what)
    made = table(passed)
    print(f"\n{made}")
    assert not any(wrong), "\n".join(filter(None, wrong))
    assert {case.section for case in ALL} == SECTIONS.keys()
    assert made in TABLE.read_text(), "docs/frames.md has another table"
