"""Limits of HTTP requests: of an address, of guesses, of what is dear, and of time."""

import asyncio

import httpx

from tests.client.tokens import bearer, visitor_token
from tests.limits.conftest import ADMIN_KEY
from tests.limits.support import check_limited, client
from tests.support.process import ServerProcess


async def test_requests_and_new_visitors_of_one_address(tight: ServerProcess) -> None:
    async with client(tight, "192.0.2.4") as http:
        held = [await visitor_token(http) for _ in range(3)]
        check_limited(await http.post("/v1/visitors"))
        renewed = await http.post("/v1/visitors", headers=bearer(held[0]))
        assert renewed.status_code == 201, "a renewed visitor is not new"
        statuses = [(await http.get("/v1/items?item=a")).status_code for _ in range(26)]
        assert statuses == [200] * 25 + [429]
        answer = await http.get("/v1/items?item=a", headers={"Origin": "https://a.example"})
        check_limited(answer)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        for path in ("/readyz", "/embed.js", "/openapi.json"):
            assert (await http.get(path)).status_code == 200, "pages have a budget of their own"
    async with client(tight) as http:
        for _ in range(40):
            await visitor_token(http)


async def test_admin_keys_are_not_guessed(tight: ServerProcess) -> None:
    """A guess costs a whole burst of requests here, so the right key comes too late."""
    async with client(tight, "192.0.2.10") as http:

        async def ask(key: str) -> httpx.Response:
            return await http.post("/v1/admin/reset?item=a", headers=bearer(key))

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
            headers = bearer(await visitor_token(http))
            assert (await http.request(method, "/v1/me", headers=headers)).status_code == 200
            check_limited(await http.request(method, "/v1/me", headers=headers))
            check_limited(await http.put("/v1/reaction?item=own", json={"reaction": "like"}, headers=headers))


WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


HALF = (
    (b"", b"", True),
    (b"G", b"", True),
    (WHOLE[:-2], b"X-More: x\r\n", True),
    (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b"x", True),
    (b"PUT /v1/reaction?item=a HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{", b"x", False),
    (WHOLE + b"GET /livez HTTP/1.1\r\n", b"x", True),
    (WHOLE, b"\r\n", False),
)


async def test_half_a_request_times_out_however_slowly_it_goes_on(tight: ServerProcess) -> None:
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

    for (half, _, reply), answer in zip(
        HALF, await asyncio.gather(*(said(half, more) for half, more, _ in HALF)), strict=True
    ):
        assert (b"HTTP/1.1 408" in answer and b'"code":"request_timeout"' in answer) is reply, half


async def test_a_body_that_does_not_arrive_is_answered_too(tight: ServerProcess) -> None:
    async with client(tight) as http:
        token = (await visitor_token(http)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(tight.url.rpartition(":")[2]))
    head = b"PUT /v1/reaction?item=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % token
    writer.write(head + b"Content-Length: 50\r\n\r\n{")
    async with asyncio.timeout(60):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
