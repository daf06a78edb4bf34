"""Every limit of a server and of a site, crossed on a real one: what is said, and that it has no effect.

Addresses are told by a header, which this machine is trusted with.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.errors import CloseCode
from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

# fmt: off
FLAGS = [
    "--connections", "40", "--address-connections", "6", "--address-arrivals", "1/m burst 10",
    "--address-requests", "1/m burst 30", "--address-visitors", "1/m burst 3", "--request-within", "1.5",
]
# fmt: on
ADMIN_KEY = "the right key"
SITES = f"""
[sites.default]
origins = ["*"]
admin_keys = ["sha256:{sha256(ADMIN_KEY.encode()).hexdigest()}"]

[sites.default.limits]
items_a_message = 10
items_a_connection = 20
messages = "1/m burst 30"
ids = "1/m burst 25"
reactions = "1/m burst 5"
new_items = "1/m burst 100"

[sites.few]
origins = ["*"]
items = "posts/[0-9]+"

[sites.few.limits]
new_items = "1/m burst 2"
"""


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server where everything is scarce; each test comes from addresses of its own."""
    folder = tmp_path_factory.mktemp("tight")
    config = folder / "tallycast.toml"
    config.write_text(SITES)
    with ServerProcess(folder, flags=["--config", str(config), *FLAGS]) as process:
        yield process.start()


@asynccontextmanager
async def client(server: ServerProcess, address: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if address is None else {"X-Forwarded-For": address}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20) as http:
        yield http


def opening(server: ServerProcess, address: str | None = None, query: str = "") -> Any:
    headers = {} if address is None else {"X-Forwarded-For": address}
    url = f"{server.ws_url}/ws{query}"
    return connect(url, additional_headers=headers, proxy=None, ping_interval=None, max_queue=None)


async def turned_away(server: ServerProcess, address: str | None = None) -> int | None:
    """The code that a new connection is closed with at once; ``None`` when it is let in."""
    async with opening(server, address) as line:
        try:
            await line.send('{"type":"ping"}')
            await line.recv()
        except ConnectionClosed:
            return line.close_code
        return None


async def ask(line: ClientConnection, message: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message."""
    await line.send(json.dumps({**message, "ref": 7}))
    while True:
        answer: dict[str, Any] = json.loads(await line.recv())
        if answer.get("ref") == 7:
            return answer


def limited(answer: dict[str, Any]) -> bool:
    """Whether an answer says to come later, and when."""
    if answer.get("code") != "rate_limited":
        return False
    assert 0 < answer["retry_after"] < 3600
    return True


async def token(http: httpx.AsyncClient) -> str:
    answer = await http.post("/v1/visitors")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def check_limited(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"


async def test_connections_of_one_address(tight: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(opening(tight, "192.0.2.1")) for _ in range(6)]
        assert await turned_away(tight, "192.0.2.1") == CloseCode.OVERLOADED
        assert await turned_away(tight, "192.0.2.2") is None
        async with client(tight, "192.0.2.1") as http:
            check_limited(await http.get("/v1/stream?item=a"))
        await lines[0].close()

        async def let_in() -> bool:
            return await turned_away(tight, "192.0.2.1") is None

        assert await let_in()


async def test_new_connections_of_one_address(tight: ServerProcess) -> None:
    """Streams count too, and forged addresses further to the left do not help."""
    async with client(tight, "192.0.2.3") as http:
        for _ in range(5):
            async with http.stream("GET", "/v1/stream?item=a") as answer:
                assert answer.status_code == 200
        found = [await turned_away(tight, f"198.51.100.{n}, 192.0.2.3") for n in range(8)]
        assert found == [None] * 5 + [CloseCode.OVERLOADED] * 3
        check_limited(await http.get("/v1/stream?item=a"))


async def test_an_office_behind_one_address_and_a_household_of_ipv6(tight: ServerProcess) -> None:
    for number in range(10):
        assert await turned_away(tight, f"2001:db8:0:1::{number}") is None
    assert await turned_away(tight, "2001:db8:0:1::ffff") == CloseCode.OVERLOADED
    assert await turned_away(tight, "2001:db8:0:2::1") is None


async def test_connections_in_all(make_server: MakeServer) -> None:
    """What is said when there are many, and when there is no room even to say it."""
    server = make_server(flags=["--connections", "10"], limited=True)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(client(server))
        lines = [await stack.enter_async_context(opening(server)) for _ in range(8)]
        streams = [await stack.enter_async_context(http.stream("GET", "/v1/stream?item=a")) for _ in range(2)]
        assert {stream.status_code for stream in streams} == {200}
        assert await turned_away(server) == CloseCode.OVERLOADED
        answer = await http.get("/v1/stream?item=a")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1

        # One that does not answer the close keeps its place for a while.
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in await reader.readline()
        with pytest.raises(InvalidStatus) as caught:
            await turned_away(server)
        assert caught.value.response.status_code == 503
        assert json.loads(caught.value.response.body or b"")["code"] == "unavailable"
        assert int(caught.value.response.headers["Retry-After"]) >= 1
        for path in ("/livez", "/readyz"):
            assert (await http.get(path)).status_code == 200
        writer.close()

        await lines[0].close()
        await streams[0].aclose()

        async def let_in() -> bool:
            try:
                return await turned_away(server) is None
            except InvalidStatus:
                return False

        await eventually(let_in)
        assert (await ask(lines[1], {"type": "ping"}))["type"] == "pong", "who was in stays in"


class Line:
    """A bare connection for HTTP, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, *headers: str) -> tuple[int, str]:
        """Status and head of the answer, whose body is read too."""
        request = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
        self._writer.write("\r\n".join(request).encode())
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            if (size := re.search(r"content-length: (\d+)", head)) is not None:
                await self._reader.readexactly(int(size[1]))
        return int(head.split()[1]), head

    async def ended(self) -> None:
        """Wait for the server to end it."""
        async with asyncio.timeout(60):
            await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def bare(server: ServerProcess) -> AsyncIterator[Line]:
    line = Line(*await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2])))
    yield line
    await line.close()


HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


async def test_connections_that_are_no_sockets(make_server: MakeServer) -> None:
    """They take room like any other, asked anything or not; who is above the limit is told, and goes."""
    server = make_server(flags=["--connections", "10"], limited=True)
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(bare(server)) for _ in range(10)]
        assert (await idle[0].get("/v1/items?item=a"))[0] == 200

        async with bare(server) as line:
            status, head = await line.get("/v1/items?item=a")
            assert (status, "connection: close" in head) == (200, True), "one answer, and no place to stay"
            await line.ended()
        async with bare(server) as line:
            status, head = await line.get("/v1/stream?item=a")
            assert (status, "retry-after: 5" in head) == (503, True)
        assert await turned_away(server) == CloseCode.OVERLOADED

        idle.append(await stack.enter_async_context(bare(server)))
        for path, expected in (
            ("/v1/items?item=a", 503),
            ("/embed.js", 503),
            ("/livez", 200),
            ("/readyz", 200),
        ):
            async with bare(server) as line:
                status, head = await line.get(path, "Origin: https://a.example")
                assert (status, "retry-after: 5" in head) == (expected, expected == 503), path
                assert "connection: close" in head
                assert ("access-control-allow-origin" in head) is path.startswith("/v1/")
                await line.ended()
        async with bare(server) as line:
            status, head = await line.get("/ws", *HANDSHAKE)
            assert (status, "retry-after: 5" in head) == (503, True)
            await line.ended()

        assert (await idle[0].get("/v1/items?item=a"))[0] == 200, "who was in stays in"
        for line in idle[:2]:
            await line.close()

        async def let_in() -> bool:
            try:
                return await turned_away(server) is None
            except InvalidStatus:
                return False

        await eventually(let_in)
        # A place goes over to the socket, and comes back once.
        for _ in range(30):
            assert await let_in()


async def test_idle_connections_end(make_server: MakeServer) -> None:
    server = make_server()
    async with bare(server) as asked, bare(server) as silent:
        assert (await asked.get("/livez"))[0] == 200
        await asyncio.gather(asked.ended(), silent.ended())


async def test_a_proxys_connections_are_anybodys(tight: ServerProcess) -> None:
    """However many it keeps open, they lock nobody out; what stays on one is its client's, while it stays."""
    many, few = "X-Forwarded-For: 192.0.2.12", "X-Forwarded-For: 192.0.2.13"
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(bare(tight)) for _ in range(14)]
        for line in lines:
            assert (await line.get("/v1/items?item=a", many))[0] == 200
        for line in lines[:6]:
            status, head = await line.get("/v1/stream?item=a", many)
            assert (status, "text/event-stream" in head) == (200, True)
        status, head = await lines[6].get("/v1/stream?item=a", many)
        assert (status, "connection: close" in head) == (429, False)
        assert (await lines[6].get("/v1/items?item=a", few))[0] == 200, "it goes on"
        assert (await lines[6].get("/v1/stream?item=a", few))[0] == 200
        assert (await lines[7].get("/ws", many, *HANDSHAKE))[0] == 101
        assert (await lines[8].get("/ws", few, *HANDSHAKE))[0] == 101
        await lines[7].ended()
        await lines[0].close()

        async def let_in() -> bool:
            return await turned_away(tight, "192.0.2.12") is None

        await eventually(let_in)


async def test_requests_and_new_visitors_of_one_address(tight: ServerProcess) -> None:
    async with client(tight, "192.0.2.4") as http:
        held = [await token(http) for _ in range(3)]
        check_limited(await http.post("/v1/visitors"))
        renewed = await http.post("/v1/visitors", headers={"Authorization": f"Bearer {held[0]}"})
        assert renewed.status_code == 201, "who is one already is not new"
        statuses = [(await http.get("/v1/items?item=a")).status_code for _ in range(26)]
        assert statuses == [200] * 25 + [429]
        answer = await http.get("/v1/items?item=a", headers={"Origin": "https://a.example"})
        check_limited(answer)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        for path in ("/readyz", "/embed.js", "/openapi.json"):
            assert (await http.get(path)).status_code == 200, "pages have a budget of their own"
    async with client(tight) as http:
        for _ in range(40):
            await token(http)


async def test_admin_keys_are_not_guessed(tight: ServerProcess) -> None:
    """A guess costs a whole burst of requests here, so the right key comes too late."""
    async with client(tight, "192.0.2.10") as http:

        async def ask(key: str) -> httpx.Response:
            return await http.post("/v1/admin/reset?item=a", headers={"Authorization": f"Bearer {key}"})

        assert (await ask(ADMIN_KEY)).status_code == 200
        guess = await ask("guess")
        assert (guess.status_code, guess.json()["code"]) == (401, "unauthorized")
        for key in ("another guess", ADMIN_KEY):
            check_limited(await ask(key))
        check_limited(await http.get("/v1/items?item=a"))
    async with client(tight, "192.0.2.11") as http:
        for _ in range(30):
            assert (await ask(ADMIN_KEY)).status_code == 200
        check_limited(await ask(ADMIN_KEY))


async def test_all_of_a_visitors_own_costs_more(tight: ServerProcess) -> None:
    async with client(tight) as http:
        for method in ("GET", "DELETE"):
            headers = {"Authorization": f"Bearer {await token(http)}"}
            assert (await http.request(method, "/v1/me", headers=headers)).status_code == 200
            check_limited(await http.request(method, "/v1/me", headers=headers))
            check_limited(await http.put("/v1/reaction?item=own", json={"reaction": "like"}, headers=headers))


async def test_reactions_of_one_visitor_by_all_ways(tight: ServerProcess) -> None:
    async with client(tight) as http, opening(tight) as line, opening(tight) as other:
        mine = await token(http)
        headers = {"Authorization": f"Bearer {mine}"}
        for one in (line, other):
            assert (await ask(one, {"type": "auth", "token": mine}))["type"] == "ready"
        for one in (line, other):
            for reaction in ("like", None):
                done = await ask(one, {"type": "react", "item": "ways", "reaction": reaction})
                assert done["type"] == "ack"
        path = "/v1/reaction?item=ways"
        last = await http.put(path, json={"reaction": "like"}, headers=headers)
        assert last.status_code == 200
        for one in (line, other):
            refused = await ask(one, {"type": "react", "item": "ways", "reaction": "dislike"})
            assert limited(refused)
            assert refused["item"] == "ways"
        check_limited(await http.put(path, json={"reaction": "dislike"}, headers=headers))
        check_limited(await http.delete(path, headers=headers))
        (item,) = (await http.get("/v1/items?item=ways")).json()["items"]
        assert (item["version"], item["counts"]) == (last.json()["version"], {"like": 1, "dislike": 0})
        # It is the visitor's budget, and nobody else's.
        assert (await ask(other, {"type": "auth", "token": await token(http)}))["type"] == "ready"
        assert (await ask(other, {"type": "react", "item": "ways", "reaction": "like"}))["type"] == "ack"


async def test_reactions_of_one_connection_whoever_it_speaks_for(make_server: MakeServer) -> None:
    folder_server = make_server(start=False)
    config = folder_server.data.parent / "sites.toml"
    config.write_text('[sites.default]\norigins = ["*"]\n[sites.default.limits]\nreactions = "1/m burst 5"\n')
    folder_server._flags += ["--config", str(config)]
    server = folder_server.start()
    async with client(server) as http, opening(server) as line:
        answers = []
        for _ in range(7):
            assert (await ask(line, {"type": "auth", "token": await token(http)}))["type"] == "ready"
            answers.append(await ask(line, {"type": "react", "item": "many", "reaction": "like"}))
        assert [answer["type"] for answer in answers] == ["ack"] * 5 + ["error"] * 2
        assert limited(answers[-1])


async def test_messages_of_one_connection(tight: ServerProcess) -> None:
    async with opening(tight, "192.0.2.5") as line:
        answers = [await ask(line, {"type": "ping"}) for _ in range(35)]
        assert [answer["type"] for answer in answers] == ["pong"] * 30 + ["error"] * 5
        waits = [answer["retry_after"] for answer in answers[30:]]
        assert limited(answers[30])
        assert waits == sorted(waits), "whoever goes on waits longer"
        refused = await ask(line, {"type": "watch", "items": ["a"]})
        assert limited(refused)
        for _ in range(40):
            await line.send('{"type":"ping"}')
        await asyncio.wait_for(line.wait_closed(), 20)
        assert line.close_code == CloseCode.ABUSIVE


async def test_pings_and_fragments_are_messages(tight: ServerProcess) -> None:
    for number in range(2):
        async with opening(tight, f"192.0.2.{60 + number}") as line:
            for _ in range(30):
                if number == 0:
                    await line.ping()
                else:
                    await line.send(['{"type":', '"ping"}'])
            try:
                while not limited(await ask(line, {"type": "ping"})):
                    raise AssertionError("it was let through")
                for _ in range(40):
                    await (line.ping() if number == 0 else line.send(["{", "}"]))
            except ConnectionClosed:
                pass
            await asyncio.wait_for(line.wait_closed(), 20)
            assert line.close_code == CloseCode.ABUSIVE


async def test_sign_ins_of_one_connection(tight: ServerProcess) -> None:
    """A signature costs ten messages; one that is refused leaves nobody, as any that fails."""
    async with client(tight) as http, opening(tight) as line:
        mine = await token(http)
        answers = [await ask(line, {"type": "auth", "token": mine}) for _ in range(4)]
        assert [answer["type"] for answer in answers] == ["ready"] * 3 + ["error"]
        assert limited(answers[-1])


async def test_items_shown_to_one_connection(tight: ServerProcess) -> None:
    items = [f"i{n}" for n in range(10)]
    async with opening(tight, "192.0.2.8") as line:
        for _ in range(2):
            assert (await ask(line, {"type": "watch", "items": items}))["type"] == "watching"
        assert limited(await ask(line, {"type": "watch", "items": ["x", *items[:5]]}))
        assert (await ask(line, {"type": "watch", "items": ["y", *items[:4]]}))["type"] == "watching"
        assert limited(await ask(line, {"type": "watch", "items": ["x"]}))
        assert (await ask(line, {"type": "ping"}))["type"] == "pong"


async def test_new_items_of_a_site(tight: ServerProcess) -> None:
    async with client(tight) as http:
        headers = {"Authorization": f"Bearer {await token_of('few', http)}"}

        async def react(item: str) -> httpx.Response:
            path = f"/v1/reaction?site=few&item={item}"
            return await http.put(path, json={"reaction": "like"}, headers=headers)

        assert [(await react(f"posts/{n}")).status_code for n in range(2)] == [200, 200]
        refused = await react("posts/3")
        check_limited(refused)
        assert refused.json()["item"] == "posts/3"
        assert (await react("posts/1")).status_code == 200, "it is there already"
        assert (await react("pages/1")).json()["code"] == "bad_item"
        (item,) = (await http.get("/v1/items?site=few&item=posts/3")).json()["items"]
        assert item["version"] == 0


async def token_of(site: str, http: httpx.AsyncClient) -> str:
    return str((await http.post(f"/v1/visitors?site={site}")).json()["token"])


async def test_who_is_nobody_may_watch_and_not_write(tight: ServerProcess) -> None:
    async with opening(tight, "192.0.2.9", "?item=nobody") as line:
        assert json.loads(await line.recv())["type"] == "counts"
        refused = await ask(line, {"type": "react", "item": "nobody", "reaction": "like"})
        assert refused["code"] == "unauthorized"
        assert (await ask(line, {"type": "watch", "items": ["other"]}))["type"] == "watching"


WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
# What comes of a request, what goes on dripping in, and whether anybody is there to whom it can be said.
HALF = (
    (b"", b"", True),
    (b"G", b"", True),
    (WHOLE[:-2], b"X-More: x\r\n", True),
    (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b"x", True),
    (b"PUT /v1/reaction?item=a HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{", b"x", False),
    (WHOLE + b"GET /livez HTTP/1.1\r\n", b"x", True),
    (WHOLE, b"\r\n", False),
)


async def test_half_a_request_is_not_waited_for_however_slowly_it_goes_on(tight: ServerProcess) -> None:
    async def said(half: bytes, more: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(tight.url.rpartition(":")[2]))
        writer.write(half)

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(more)
                await asyncio.sleep(0.2)

        dripping = asyncio.create_task(drip())
        answer = b""
        try:
            # Piece by piece: what came before a reset is kept.
            async with asyncio.timeout(60):
                while piece := await reader.read(65536):
                    answer += piece
        except ConnectionResetError:
            pass
        finally:
            dripping.cancel()
            writer.close()
        return answer

    for (half, _, told), answer in zip(
        HALF, await asyncio.gather(*(said(half, more) for half, more, _ in HALF)), strict=True
    ):
        assert (b"HTTP/1.1 408" in answer and b'"code":"request_timeout"' in answer) is told, half


async def test_a_full_engine_loses_nothing(make_server: MakeServer) -> None:
    """Above its memory reactions are refused, reading goes on, and what was acknowledged is there."""
    server = make_server(flags=["--engine-memory", "64mb"])
    async with client(server) as http:
        headers = {"Authorization": f"Bearer {await token(http)}"}
        path = "/v1/reaction?item=full"
        first = await http.put(path, json={"reaction": "like"}, headers=headers)
        assert first.status_code == 200
        with Redis.from_url(f"unix://{server.data / 'engine.sock'}") as engine:
            assert int(engine.config_get("maxmemory")["maxmemory"]) == 64 * 2**20
            engine.config_set("maxmemory", "1mb")
            refused = await http.put(path, json={"reaction": "dislike"}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            async with opening(server, query="?item=full") as line:
                shown = json.loads(await line.recv())
                assert (shown["version"], shown["counts"]) == (
                    first.json()["version"],
                    {"like": 1, "dislike": 0},
                )
            engine.config_set("maxmemory", "64mb")
        again = await http.put(path, json={"reaction": "dislike"}, headers=headers)
        assert again.json()["counts"] == {"like": 0, "dislike": 1}
