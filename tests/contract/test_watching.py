"""watch, unwatch, ping, snapshots and `since`."""

from __future__ import annotations

import time

import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import MAX_INT, MSGPACK, ZERO, Server, new_item


async def test_item_of_the_url_is_watched_from_the_start(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    async with connect(server, protocol, item) as page:
        first = await page.next("counts", item=item)
        assert (first["version"], first["counts"]) == (0, ZERO)
        assert "reset" not in first
        ack = await http.react(item, "like", alice.token)
        then = await page.next("counts", item=item)
        assert (then["version"], then["counts"]) == (ack["version"], {"like": 1, "dislike": 0})


async def test_nothing_is_watched_until_asked(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    one, other = new_item(), new_item()
    async with connect(server, protocol) as page:
        await page.ping()
        assert [f["type"] for f in page.frames] == ["pong"]
        await page.watch(one)
        await http.react(other, "like", alice.token)
        ack = await http.react(one, "like", alice.token)
        await page.next("counts", item=one, version=ack["version"])
        assert all(f.get("item") != other for f in page.frames)


async def test_watch_brings_a_snapshot_of_each_and_then_watching(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    items = [new_item(f"n{i}") for i in range(5)]
    ack = await http.react(items[3], "dislike", alice.token)
    async with connect(server, protocol) as page:
        watched = await page.watch(*items)
        assert set(watched.counts) == set(items)
        assert watched.mine == {}
        for item in items:
            assert watched.counts[item]["version"] == (ack["version"] if item == items[3] else 0)
        assert watched.counts[items[3]]["counts"] == {"like": 0, "dislike": 1}
        assert page.frames[-1]["type"] == "watching"


async def test_repeated_watch_brings_the_snapshot_again(server: Server, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item) as page:
        await page.next("counts", item=item)
        for _ in range(3):
            assert (await page.watch(item)).counts[item]["version"] == 0


async def test_same_item_twice_in_one_watch(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        await page.watch(item, item)
        await http.react(item, "like", alice.token)
        await page.until_shows(item, like=1)


async def test_empty_lists_are_answered(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for kind, answer in (("watch", "watching"), ("unwatch", "unwatched")):
            frame = await page.ask(kind, items=[])
            assert frame["type"] == answer or frame["code"] == "bad_message"


async def test_unwatched_item_falls_silent_and_comes_back(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    gone, kept = new_item("gone"), new_item("kept")
    async with connect(server, protocol) as page:
        await page.watch(gone, kept)
        assert "item" not in await page.unwatch(gone)
        for reaction in ("like", "dislike", "like"):  # frames on their way may still arrive; not for ever
            await http.react(gone, reaction, alice.token)
            ack = await http.react(kept, reaction, alice.token)
            await page.next("counts", item=kept, version=ack["version"])
        before = len(page.frames)
        await http.react(gone, "dislike", alice.token)
        ack = await http.react(kept, "dislike", alice.token)
        await page.next("counts", item=kept, version=ack["version"])
        assert all(f.get("item") != gone for f in page.frames[before:])
        again = (await page.watch(gone)).counts[gone]
        assert again["counts"] == {"like": 0, "dislike": 1}
        await http.react(gone, None, alice.token)
        await page.until_shows(gone)


async def test_unwatching_what_is_not_watched(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        await page.unwatch(new_item(), new_item())


async def test_since_equal_brings_no_snapshot(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    touched, untouched, other = new_item(), new_item(), new_item()
    ack = await http.react(touched, "like", alice.token)
    async with connect(server, protocol) as page:
        watched = await page.watch(touched, untouched, other, since={touched: ack["version"], untouched: 0})
        assert set(watched.counts) == {other}
        later = await http.react(touched, "dislike", alice.token)
        await page.next("counts", item=touched, version=later["version"])
        later = await http.react(untouched, "dislike", alice.token)
        await page.next("counts", item=untouched, version=later["version"])


async def test_since_below_brings_the_snapshot(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    old = await http.react(item, "like", alice.token)
    new = await http.react(item, "dislike", alice.token)
    async with connect(server, protocol) as page:
        for since in (0, 1, old["version"], new["version"] - 1):
            snapshot = (await page.watch(item, since={item: since})).counts[item]
            assert "reset" not in snapshot
            assert (snapshot["version"], snapshot["counts"]) == (new["version"], new["counts"])


@pytest.mark.parametrize("above", [1, 10**9, MAX_INT], ids=["by one", "by far", "highest"])
async def test_since_above_brings_a_reset(
    server: Server, http: Http, alice: Visitor, protocol: str, above: int
) -> None:
    touched, untouched = new_item(), new_item()
    ack = await http.react(touched, "like", alice.token)
    async with connect(server, protocol) as page:
        for item, version, counts in ((touched, ack["version"], ack["counts"]), (untouched, 0, ZERO)):
            since = min(MAX_INT, version + above)
            snapshot = (await page.watch(item, since={item: since})).counts[item]
            assert snapshot["reset"] is True
            assert (snapshot["version"], snapshot["counts"]) == (version, counts)
        later = await http.react(touched, "dislike", alice.token)
        assert "reset" not in await page.next("counts", item=touched, version=later["version"])


async def test_since_of_a_reconnecting_page(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    """It shows three items; one moved while it was away."""
    items = [new_item() for _ in range(3)]
    async with connect(server, protocol) as page:
        await page.watch(*items)
        await http.react(items[0], "like", alice.token)
        await page.until_shows(items[0], like=1)
        since = {item: shown.version for item, shown in page.shown.items()}
    moved = await http.react(items[1], "dislike", alice.token)
    async with connect(server, protocol) as page:
        watched = await page.watch(*items, since=since)
        assert {i: f["version"] for i, f in watched.counts.items()} == {items[1]: moved["version"]}


async def test_since_for_other_items_changes_nothing(server: Server, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        frame = await page.ask("watch", items=[item], since={new_item(): 5})
        assert frame["type"] == "watching" or frame["code"] == "bad_message"
        assert (await page.watch(item, since={})).counts[item]["version"] == 0


@pytest.mark.parametrize("ref", [0, 1, MAX_INT])
async def test_ref_is_echoed_from_0_to_2_53_less_1(
    server: Server, alice: Visitor, protocol: str, ref: int
) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        assert (await page.ask("ping", ref=ref))["type"] == "pong"
        assert (await page.ask("react", item=item, reaction="like", ref=ref))["code"] == "unauthorized"
        assert (await page.ask("auth", token=alice.token, ref=ref))["type"] == "ready"
        assert (await page.ask("watch", items=[item], ref=ref))["type"] == "watching"
        assert (await page.ask("react", item=item, reaction="like", ref=ref))["type"] == "ack"
        assert (await page.ask("unwatch", items=[item], ref=ref))["type"] == "unwatched"


async def test_without_ref_the_answers_have_none(server: Server, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        for message, answer in (
            ({"type": "ping"}, "pong"),
            ({"type": "react", "item": item, "reaction": "like"}, "error"),
            ({"type": "auth", "token": alice.token}, "ready"),
            ({"type": "watch", "items": [item]}, "watching"),
            ({"type": "react", "item": item, "reaction": "like"}, "ack"),
            ({"type": "unwatch", "items": [item]}, "unwatched"),
        ):
            await page.send(message)
            assert "ref" not in await page.next(answer)


async def test_integers_of_any_width(server: Server, http: Http, alice: Visitor) -> None:
    """MessagePack: the number 5 in every encoding that can hold it, and long headers for short things."""
    item = new_item()
    ack = await http.react(item, "like", alice.token)
    async with connect(server, MSGPACK) as page:
        for five in (
            "05",
            "cc05",
            "cd0005",
            "ce00000005",
            "cf0000000000000005",
            "d005",
            "d10005",
            "d200000005",
            "d30000000000000005",
        ):
            await page.raw(b"\x82\xa4type\xa4ping\xa3ref" + bytes.fromhex(five), ref=5)
            assert (await page.next(ref=5))["type"] == "pong"
        await page.raw(b"\xdf\0\0\0\2\xd9\4type\xda\0\4ping\xdb\0\0\0\3ref\x06", ref=6)
        assert (await page.next(ref=6))["type"] == "pong"
        name = item.encode()
        id_ = bytes([0xD9, len(name)]) + name
        version = b"\xd3" + ack["version"].to_bytes(8, "big")  # a signed 64-bit integer
        await page.raw(
            b"\x84\xa4type\xa5watch\xa5items\xdc\0\1"
            + id_
            + b"\xa5since\xde\0\1"
            + id_
            + version
            + b"\xa3ref\x07",
            ref=7,
        )
        assert (await page.next(ref=7))["type"] == "watching"
        assert [f["type"] for f in page.frames if f.get("item") == item] == []


async def test_json_in_any_spelling(server: Server) -> None:
    async with connect(server) as page:
        for ref, text in (
            (1, ' \t\r\n{ "ref" : 1 , "type" : "ping" }\n'),
            (2, '{"\\u0074ype":"p\\u0069ng","ref":2}'),
        ):
            await page.raw(text, ref=ref)
            assert (await page.next(ref=ref))["type"] == "pong"
        item = new_item("é\U0001f44d")
        escaped = item.replace("é", "\\u00e9").replace("\U0001f44d", "\\ud83d\\udc4d")
        await page.raw(f'{{"type":"watch","items":["{escaped}"],"ref":3}}', ref=3)
        assert (await page.next(ref=3))["type"] == "watching"
        assert (await page.next("counts"))["item"] == item


async def test_versions_are_the_time_of_the_commit(server: Server, http: Http, alice: Visitor) -> None:
    before = time.time()
    ack = await http.react(new_item(), "like", alice.token)
    assert before - 5 < ack["version"] / 1e6 < time.time() + 5
