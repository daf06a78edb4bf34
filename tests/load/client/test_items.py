"""What the store is asked for, and what is no answer to that."""

import asyncio

import pytest
from tallycast_load.client import items
from tallycast_load.client.http import HttpClient, Reply, Request
from tallycast_load.client.items import ITEMS_PER_REQUEST, ItemReader
from tallycast_load.client.target import Target
from tallycast_load.plan.errors import LoadError

from tests.load.fake import Fake, Faults


async def test_many_items_are_read_in_several_requests() -> None:
    wanted = [f"item {number}" for number in range(2 * ITEMS_PER_REQUEST + 1)]
    async with Fake() as fake:
        fake.react(wanted[-1], "a", "like")
        target = Target.parse(fake.url)
        http = HttpClient(target)
        found = await ItemReader(http, target, "default").read(wanted, "a")
        http.close()
    assert [stored.item for stored in found] == wanted
    assert (found[-1].reaction, found[-1].counts["like"], found[0].reaction) == ("like", 1, None)


async def test_other_items_are_no_answer() -> None:
    async with Fake(Faults(other_items=True)) as fake:
        target = Target.parse(fake.url)
        http = HttpClient(target)
        asked = ItemReader(http, target, "default")
        with pytest.raises(
            LoadError, match=r"^GET /v1/items was answered with other items than those requested"
        ):
            await asked.read(["a", "b"], None)
        fake.die()
        with pytest.raises(LoadError, match=r"^GET /v1/items: "):
            await asked.read(["a"], None)
        http.close()


async def test_a_limit_on_requests_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Fake(Faults(limit_reads=2)) as fake:
        target = Target.parse(fake.url)
        http = HttpClient(target)
        found = await ItemReader(http, target, "default").read(["a"], None)
        assert [stored.item for stored in found] == ["a"]
        # Not for ever.
        monkeypatch.setattr(items, "RETRY_TIMEOUT", 0.0)
        fake.faults.limit_reads = 9
        with pytest.raises(LoadError, match=r"^GET /v1/items was answered 429 rate_limited$"):
            await ItemReader(http, target, "default").read(["a"], None)
        http.close()


async def test_an_interim_answer_is_not_the_answer() -> None:
    """A proxy in front of the server may send some (RFC 9110, section 15.2)."""

    def hint(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 X\r\nRetry-After: 9\r\n\r\nHTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(hint, "127.0.0.1", 0) as proxy:
        http = HttpClient(Target.parse(f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"))
        assert await http.send(Request("GET", "/")) == Reply(200, {"content-length": "2"}, b"ok")
        http.close()


@pytest.mark.parametrize(
    ("said", "waits"), [("3", 3.0), ("3600", 10.0), ("Wed, 21 Oct 2026", 1.0), ("", 1.0)]
)
def test_a_server_says_how_long_to_wait(said: str, waits: float) -> None:
    assert items._retry_after(Reply(429, {"retry-after": said}, b"")) == waits
