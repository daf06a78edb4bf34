"""Merges and erasures that are killed in the middle: each is counted once, erased is erased."""

import asyncio
import json
import os
import signal
import time
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from redis import Redis
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.standalone import StandaloneStore
from tallycast.ledger.writer import Committed, SetReaction, apply
from websockets.exceptions import WebSocketException

from tests.client.tokens import bearer
from tests.client.websocket import connect
from tests.conftest import MakeServer
from tests.faults.conftest import Measured
from tests.ledger.support import stored
from tests.support.names import NAMES
from tests.support.process import ServerProcess
from tests.support.signing import SECRET
from tests.support.waiting import eventually

SITE = Site("blog")
ITEMS = [f"posts/{number}" for number in range(5000)]
CONFIG = f"""
[sites.blog]
origins = ["*"]
[[sites.blog.tokens]]
algorithm = "HS256"
secret = "{SECRET}"
[sites.blog.limits]
reactions = "1000000/s burst 1000000"
"""


class Person:
    """An anonymous visitor with a reaction on every item, that signs in."""

    numbers = count()

    def __init__(self, server: ServerProcess) -> None:
        now, number = int(time.time()), next(self.numbers)
        claims = {"sub": str(number), "aud": SITE.name, "iat": now, "exp": now + 3600}
        made = httpx.post(f"{server.url}/v1/visitors?site=blog").raise_for_status().json()
        self._server = server
        self.token = jwt.encode(claims, SECRET, "HS256")
        self.account = keys.member(f"u:{number}")
        self.stranger, self.strangers_token = keys.member(made["visitor"]), made["token"]

    @property
    def me(self) -> str:
        return f"{self._server.url}/v1/me?site=blog"

    @property
    def bearer(self) -> dict[str, str]:
        return bearer(self.token)

    async def react_to_all(self, member: bytes) -> None:
        engine = StandaloneStore(running_engine(self._server.data))
        for at in range(0, len(ITEMS), 500):
            reactions = [
                SetReaction(SITE, item, member, "like", 0, lambda _: None) for item in ITEMS[at : at + 500]
            ]
            assert all(isinstance(answer, Committed) for answer in await apply(engine, reactions))
        await engine.close()

    async def sign_in(self) -> dict[str, Any] | None:
        """With the merge; the answer, or ``None`` when the connection ends before."""
        try:
            async with connect(f"{self._server.ws_url}/ws?site=blog") as page:
                return await page.ask("auth", token=self.token, merge=self.strangers_token)
        except (WebSocketException, OSError):
            return None


def kill(server: ServerProcess, victim: str) -> None:
    if victim == "server":
        server.kill()
        server.family_is_gone()
        server.start()
        return
    pid = server.engine if victim == "engine" else server.workers[0]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def half_merged(server: ServerProcess, victim: str) -> Person:
    """A visitor whose merge the death of the victim has cut off, in the middle."""
    for _ in range(20):
        person = Person(server)
        await person.react_to_all(person.stranger)
        taken = NAMES.taken_key(SITE.name, person.stranger)
        with Redis.from_url(running_engine(server.data)) as client:
            asked = asyncio.create_task(person.sign_in())
            await eventually(lambda client=client, taken=taken: 0 < client.zcard(taken) <= len(ITEMS) - 100)
        await asyncio.to_thread(kill, server, victim)
        await asked
        await eventually(lambda: asyncio.to_thread(_ready, server))
        with Redis.from_url(running_engine(server.data)) as client:
            if client.zcard(taken):
                return person
    raise AssertionError("the merge was always faster")


def _ready(server: ServerProcess) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def check(server: ServerProcess, person: Person, held: dict[str, str]) -> None:
    """Counts are the membership, and what the account holds; the other visitor is retired everywhere."""
    with Redis.from_url(running_engine(server.data)) as client:
        for item in ITEMS:
            state, members = stored(client, SITE.name, item)
            reaction = held.get(item)
            assert members.get(person.account) == reaction
            assert person.stranger not in members
            kinds = list(members.values())
            assert all(state.counts.get(kind, 0) == kinds.count(kind) for kind in SITE.kinds), item
        assert client.get(NAMES.index_key(SITE.name, person.stranger)) == person.account
        for gone in (NAMES.merges, NAMES.taken_key(SITE.name, person.stranger)):
            assert not client.exists(gone)
    answer = httpx.get(person.me, headers=bearer(person.strangers_token))
    assert answer.status_code == 401
    lines = httpx.get(person.me, headers=person.bearer, timeout=30).text.splitlines()
    assert {line["item"]: line["reaction"] for line in map(json.loads, lines)} == held


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> ServerProcess:
    file = tmp_path / "tallycast.toml"
    file.write_text(CONFIG)
    return make_server(flags=["--config", str(file)])


async def test_it_goes_on_by_itself(server: ServerProcess, measured: Measured) -> None:
    person = await half_merged(server, "server")
    began = time.monotonic()
    held = dict.fromkeys(ITEMS, "like")
    # The account votes meanwhile, on what was moved and on what was not; its own reaction stays.
    async with httpx.AsyncClient(base_url=server.url, headers=person.bearer) as http:
        for item in (ITEMS[0], ITEMS[-1]):
            held[item] = "dislike"
            where = {"site": "blog", "item": item}
            answer = await http.put("/v1/reaction", params=where, json={"reaction": "dislike"})
            assert answer.status_code == 200
    with Redis.from_url(running_engine(server.data)) as client:
        await eventually(lambda: not client.exists(NAMES.merges), within=60)
    took = time.monotonic() - began
    await asyncio.to_thread(check, server, person, held)
    measured(f"a merge of {len(ITEMS)} items, cut off, was finished {took:.1f} s later; each counted once")


async def test_it_goes_on_with_the_same_request(server: ServerProcess) -> None:
    person = await half_merged(server, "engine")
    answers = await asyncio.gather(person.sign_in(), person.sign_in())
    assert [answer and answer["type"] for answer in answers] == ["ready"] * 2
    await asyncio.to_thread(check, server, person, dict.fromkeys(ITEMS, "like"))


async def test_what_was_cut_off_is_exported_and_erased(server: ServerProcess) -> None:
    person = await half_merged(server, "worker")
    async with httpx.AsyncClient(timeout=60, headers=person.bearer) as http:
        lines = (await http.get(person.me)).text.splitlines()
        assert {json.loads(line)["item"] for line in lines} == set(ITEMS)

    person = await half_merged(server, "worker")
    async with httpx.AsyncClient(timeout=60, headers=person.bearer) as http:
        assert (await http.delete(person.me)).json() == {"erased": len(ITEMS)}
    await asyncio.to_thread(check, server, person, {})


@pytest.mark.parametrize("victim", ["engine", "server"])
async def test_an_erasure_goes_on_with_the_same_request(server: ServerProcess, victim: str) -> None:
    left = 0
    while not 0 < left < len(ITEMS):
        person = Person(server)
        await person.react_to_all(person.account)
        index = NAMES.index_key(SITE.name, person.account)
        async with httpx.AsyncClient(timeout=60, headers=person.bearer) as http:
            asked = asyncio.create_task(http.delete(person.me))
            with Redis.from_url(running_engine(server.data)) as client:
                await eventually(lambda client=client, index=index: client.zcard(index) <= len(ITEMS) - 100)
            await asyncio.to_thread(kill, server, victim)
            await asyncio.wait([asked])
            refused = asked.exception() or asked.result().status_code == 503
            await eventually(lambda: asyncio.to_thread(_ready, server))
            left = len((await http.get(person.me)).text.splitlines())
            # Done is only what was answered as done.
            assert refused or not left
            answer = await http.delete(person.me)
            assert answer.json() == {"erased": left}
    with Redis.from_url(running_engine(server.data)) as client:
        assert not client.exists(index)
        for item in ITEMS:
            state, members = stored(client, SITE.name, item)
            assert not members
            assert not any(state.counts.values())
