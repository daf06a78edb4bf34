"""All transports tell the same story: sockets in both subprotocols and HTTP, under mixed reactions."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from tests.client.checked import Client, connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, KINDS, MSGPACK, ZERO, Frame, Server, new_item


async def test_two_sockets_and_http_agree(server: Server, http: Http, alice: Visitor, bob: Visitor) -> None:
    item = new_item()
    async with (
        connect(server, JSON, item, token=alice.token) as text,
        connect(server, MSGPACK, item, token=bob.token) as binary,
    ):
        for way, reaction, counts in (
            ("text", "like", {"like": 1}),
            ("binary", "dislike", {"like": 1, "dislike": 1}),
            ("http-alice", "dislike", {"dislike": 2}),
            ("http-bob", None, {"dislike": 1}),
            ("binary", "like", {"like": 1, "dislike": 1}),
            ("text", None, {"like": 1}),
            ("http-alice", None, {"like": 1}),
        ):
            ack = {
                "text": lambda r: text.react(item, r),
                "binary": lambda r: binary.react(item, r),
                "http-alice": lambda r: http.react(item, r, alice.token),
                "http-bob": lambda r: http.react(item, r, bob.token),
            }[way]
            answer: Frame = await ack(reaction)
            assert answer["counts"] == ZERO | counts
            entry = await http.item(item)
            assert (entry["version"], entry["counts"]) == (answer["version"], answer["counts"])
            for page in (text, binary):
                assert (await page.until_shows(item, **counts)).version == answer["version"]
        assert (text.shown[item], text.mine[item].reaction) == (binary.shown[item], None)
        assert binary.mine[item].reaction == "like"


async def react_somehow(
    way: str, page: Client | None, http: Http, item: str, reaction: str | None, token: str
) -> Frame:
    if way == "http" or page is None:
        return await http.react(item, reaction, token)
    return await page.react(item, reaction)


@pytest.mark.parametrize("seed", range(3))
async def test_random_walk(server: Server, http: Http, seed: int) -> None:
    """Eight visitors over five items by every way at once, against a model that is a dict of sets."""
    chance = random.Random(seed)
    items = [new_item(f"walk{i}") for i in range(5)]
    visitors = [await http.visitor() for _ in range(8)]
    model: dict[tuple[int, str], str | None] = {}
    newest = dict.fromkeys(items, 0)

    async with AsyncExitStack() as stack:

        async def page(protocol: str, token: str | None = None) -> Client:
            client = await stack.enter_async_context(connect(server, protocol, token=token))
            await client.watch(*items)
            return client

        watchers = [await page(JSON), await page(MSGPACK)]
        pages = [await page((JSON, MSGPACK)[i % 2], v.token) for i, v in enumerate(visitors)]

        async def turn(i: int) -> None:
            """One visitor does a few things; each of its own is awaited, so that its last word is known."""
            for _ in range(chance.randint(1, 3)):
                item, reaction = chance.choice(items), chance.choice((*KINDS, None))
                way = chance.choice(("http", "socket", "socket"))
                ack = await react_somehow(way, pages[i], http, item, reaction, visitors[i].token)
                assert reaction is None or ack["counts"][reaction] >= 1
                model[i, item] = reaction
                newest[item] = max(newest[item], ack["version"])

        for _ in range(15):
            await asyncio.gather(*(turn(i) for i in range(len(visitors))))

        truth = {
            item: {kind: sum(model.get((i, item)) == kind for i in range(8)) for kind in KINDS}
            for item in items
        }
        for entry in await http.items(*items):
            assert (entry["counts"], entry["version"]) == (truth[entry["item"]], newest[entry["item"]])
        for client in watchers + pages:
            for item in items:
                shown = await client.until_at(item, newest[item])
                assert (shown.version, shown.counts) == (newest[item], truth[item])
        for client in watchers:
            last = {f["item"]: f for f in client.frames if f["type"] == "counts"}
            assert {item: f["counts"] for item, f in last.items()} == truth
        for i, visitor in enumerate(visitors):
            held = {item: model.get((i, item)) for item in items}
            assert {e["item"]: e["reaction"] for e in await http.items(*items, token=visitor.token)} == held
            await pages[i].watch(*items)
            assert {item: pages[i].mine[item].reaction for item in items} == held
    again = {}
    for protocol in (JSON, MSGPACK):
        async with connect(server, protocol) as late:
            again[protocol] = (await late.watch(*items)).counts
    assert {i: (f["version"], f["counts"]) for i, f in again[JSON].items()} == {
        i: (newest[i], truth[i]) for i in items
    }
    assert again[JSON] == again[MSGPACK]


@pytest.mark.parametrize("seed", range(2))
async def test_random_walk_without_awaiting(server: Server, http: Http, seed: int) -> None:
    """The same by sockets alone, every message sent before the first answer is read."""
    chance = random.Random(seed)
    items = [new_item(f"rush{i}") for i in range(5)]
    visitors = [await http.visitor() for _ in range(8)]
    async with AsyncExitStack() as stack:
        pages = [
            await stack.enter_async_context(connect(server, (JSON, MSGPACK)[i % 2]))
            for i in range(len(visitors))
        ]
        last: list[dict[str, str | None]] = [{} for _ in pages]
        newest = dict.fromkeys(items, 0)

        async def rush(i: int) -> None:
            page = pages[i]
            refs = [await page.post("auth", token=visitors[i].token), await page.post("watch", items=items)]
            for _ in range(60):
                item, reaction = chance.choice(items), chance.choice((*KINDS, None))
                refs.append(await page.post("react", item=item, reaction=reaction))
                last[i][item] = reaction
            for answer in [await page.answer(ref) for ref in refs]:
                assert answer["type"] != "error"
                if answer["type"] == "ack":
                    newest[answer["item"]] = max(newest[answer["item"]], answer["version"])

        await asyncio.gather(*(rush(i) for i in range(len(pages))))
        truth = {
            item: {kind: sum(mine.get(item) == kind for mine in last) for kind in KINDS} for item in items
        }
        for page, mine in zip(pages, last, strict=True):
            for item in items:
                shown = await page.until_at(item, newest[item])
                assert (shown.version, shown.counts) == (newest[item], truth[item])
            assert {item: page.mine[item].reaction for item in mine} == mine
    assert {e["item"]: e["counts"] for e in await http.items(*items)} == truth


@pytest.mark.parametrize("seed", range(3))
async def test_pages_that_watch_unwatch_and_change_hands(server: Server, http: Http, seed: int) -> None:
    """Six pages shared by three people, everything at random and mostly without awaiting."""
    chance = random.Random(seed)
    items = [new_item(f"come{i}") for i in range(4)]
    people = [await http.visitor() for _ in range(3)]
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(connect(server, (JSON, MSGPACK)[i % 2])) for i in range(6)]
        holders = [chance.choice(people) for _ in pages]
        watched: list[set[str]] = [set() for _ in pages]

        async def live(i: int) -> None:
            page = pages[i]
            refs = [await page.post("auth", token=holders[i].token)]
            for _ in range(60):
                some = chance.sample(items, chance.randint(1, 3))
                what = chance.choice(("watch", "watch", "unwatch", "auth", "react", "react", "react", "wait"))
                if what == "watch":
                    refs.append(await page.post("watch", items=some))
                    watched[i].update(some)
                elif what == "unwatch":
                    refs.append(await page.post("unwatch", items=some))
                    watched[i].difference_update(some)
                elif what == "auth":
                    holders[i] = chance.choice(people)
                    refs.append(await page.post("auth", token=holders[i].token))
                elif what == "react":
                    refs.append(
                        await page.post("react", item=some[0], reaction=chance.choice((*KINDS, None)))
                    )
                else:
                    await page.ping()
            for ref in refs:
                assert (await page.answer(ref))["type"] != "error"

        await asyncio.gather(*(live(i) for i in range(len(pages))))
        entries = {e["item"]: e for e in await http.items(*items)}
        held = {
            person.id: {e["item"]: e["reaction"] for e in await http.items(*items, token=person.token)}
            for person in people
        }
        for item in items:
            votes = [held[person.id][item] for person in people]
            assert entries[item]["counts"] == {kind: votes.count(kind) for kind in KINDS}
        for page, holder, mine in zip(pages, holders, watched, strict=True):
            assert page.visitor == holder.id
            assert set(page.shown) == mine
            for item in mine:
                shown = await page.until_at(item, entries[item]["version"])
                assert (shown.version, shown.counts) == (entries[item]["version"], entries[item]["counts"])
            if mine:
                await page.watch(*mine)  # `mine` is certain at the next watch
            assert {item: page.mine[item].reaction for item in mine} == {i: held[holder.id][i] for i in mine}
