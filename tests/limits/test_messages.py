"""Limits of the messages of a connection."""

import asyncio

from tallycast.contract.errors import CloseCode
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import visitor_token
from tests.limits.support import client, is_limited, opening
from tests.support.process import ServerProcess


async def test_messages_of_one_connection(tight: ServerProcess) -> None:
    async with opening(tight, "192.0.2.5") as line:
        answers = [await line.ask("ping") for _ in range(35)]
        assert [answer["type"] for answer in answers] == ["pong"] * 30 + ["error"] * 5
        waits = [answer["retry_after"] for answer in answers[30:]]
        assert is_limited(answers[30])
        assert waits == sorted(waits), "each further one waits longer"
        answer = await line.ask("watch", items=["a"])
        assert is_limited(answer)
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
                while not is_limited(await line.ask("ping")):
                    raise AssertionError("it was let through")
                for _ in range(40):
                    await (line.ping() if number == 0 else line.send(["{", "}"]))
            except ConnectionClosed:
                pass
            await asyncio.wait_for(line.wait_closed(), 20)
            assert line.close_code == CloseCode.ABUSIVE


async def test_sign_ins_of_one_connection(tight: ServerProcess) -> None:
    """A signature costs ten messages; one that is refused leaves the connection unauthenticated."""
    async with client(tight) as http, opening(tight) as line:
        mine = await visitor_token(http)
        answers = [await line.ask("auth", token=mine) for _ in range(4)]
        assert [answer["type"] for answer in answers] == ["ready"] * 3 + ["error"]
        assert is_limited(answers[-1])


async def test_items_shown_to_one_connection(tight: ServerProcess) -> None:
    items = [f"i{n}" for n in range(10)]
    async with opening(tight, "192.0.2.8") as line:
        for _ in range(2):
            assert (await line.ask("watch", items=items))["type"] == "watching"
        assert is_limited(await line.ask("watch", items=["x", *items[:5]]))
        assert (await line.ask("watch", items=["y", *items[:4]]))["type"] == "watching"
        assert is_limited(await line.ask("watch", items=["x"]))
        assert (await line.ask("ping"))["type"] == "pong"
