"""Revocations on a real engine: learnt in order, none missed, by a process that comes late too."""

from typing import Any

from tallycast.access import revocations
from tallycast.access.revocations import RETENTION, Revocations, revoke
from tallycast.engine import keys
from tallycast.engine.store import Store

from tests.support.names import NAMES


class Process:
    """One process's copy."""

    def __init__(self, link: Store) -> None:
        self.received: list[tuple[str, bytes, float]] = []
        self.known = Revocations(link, lambda *answer: self.received.append(answer))


async def test_everybody_learns_of_it_once(link: Store) -> None:
    early, late = Process(link), Process(link)
    await early.known.refresh()
    assert early.known.at("blog", "u:1") is None
    await revoke(link, "blog", "u:1")
    await revoke(link, "blog", "u:2")
    for _ in range(2):
        await early.known.refresh()
    await late.known.refresh()
    for process in (early, late):
        assert [(site, visitor) for site, visitor, _ in process.received] == [
            ("blog", keys.member("u:1")),
            ("blog", keys.member("u:2")),
        ]
        assert process.known.at("blog", "u:1") == process.received[0][2]
        assert process.known.at("other", "u:1") is None
        assert process.known.at("blog", "u:3") is None


async def test_the_engine_stamps_them(link: Store) -> None:
    process = Process(link)
    await revoke(link, "blog", "u:1")
    seconds, micros = await link.execute("TIME")
    await process.known.refresh()
    first = process.known.at("blog", "u:1")
    assert first is not None
    assert 0 <= int(seconds) + int(micros) / 1e6 - first < 5
    await revoke(link, "blog", "u:1")
    await process.known.refresh()
    again = process.known.at("blog", "u:1")
    assert again is not None
    assert again >= first


async def test_more_than_a_page(link: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr(revocations, "PAGE", 3)
    for number in range(10):
        await revoke(link, "blog", f"u:{number}")
    process = Process(link)
    await process.known.refresh()
    assert len(process.received) == 10


async def test_what_is_too_old_is_forgotten(link: Store, client: Any) -> None:
    seconds, _ = await client.time()
    old = (seconds - RETENTION - 10) * 1000
    await client.xadd(NAMES.revoked, {"site": "blog", "member": keys.member("u:old")}, id=f"{old}-0")
    process = Process(link)
    await process.known.refresh()
    assert process.known.at("blog", "u:old") is not None
    await revoke(link, "blog", "u:new")
    await process.known.refresh()
    assert process.known.at("blog", "u:old") is None
    assert process.known.at("blog", "u:new") is not None


async def test_the_stream_does_not_grow_for_ever(link: Store, client: Any) -> None:
    for number in range(300):
        await client.xadd(NAMES.revoked, {"site": "b", "member": b"x"}, id=f"{1000 + number}-0")
    await revoke(link, "blog", "u:1")
    assert await client.xlen(NAMES.revoked) < 200


async def test_a_foreign_entry_does_no_harm(link: Store, client: Any) -> None:
    await client.xadd(NAMES.revoked, {"nonsense": "x"})
    await revoke(link, "blog", "u:1")
    process = Process(link)
    await process.known.refresh()
    assert len(process.received) == 1
