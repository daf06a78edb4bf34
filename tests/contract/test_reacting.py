"""react and its ack, `mine` in other tabs and devices, two people, and messages sent without waiting."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.client.checked import Client, connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, MSGPACK, ZERO, Frame, Server, new_item

LIKE = {"like": 1, "dislike": 0}
DISLIKE = {"like": 0, "dislike": 1}


async def test_ack_says_what_holds_now(server: Server, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, token=alice.token) as page:  # the item is not watched
        versions = [0]
        for reaction, counts in (("like", LIKE), ("dislike", DISLIKE), (None, ZERO), ("dislike", DISLIKE)):
            ack = await page.react(item, reaction)
            assert ack["counts"] == counts
            versions.append(ack["version"])
        assert versions == sorted(set(versions))


async def test_setting_what_is_set_leaves_the_version(server: Server, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        first = await page.react(item, "like")
        again = await page.react(item, "like")
        assert (again["version"], again["counts"]) == (first["version"], LIKE)
        cleared = await page.react(item, None)
        assert (await page.react(item, None))["version"] == cleared["version"] > first["version"]
        last = await page.react(item, "dislike")
        await page.next("counts", item=item, version=last["version"])
        seen = [f["version"] for f in page.frames if f["type"] == "counts"]
        assert seen == sorted(set(seen)), "what changed nothing was published"
        assert set(seen) <= {0, first["version"], cleared["version"], last["version"]}


async def test_clearing_on_an_untouched_item(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    async with connect(server, protocol, token=alice.token) as page:
        ack = await page.react(item, None)
        assert (ack["version"], ack["counts"]) == (0, ZERO)
    assert (await http.item(item))["version"] == 0


async def test_two_people(server: Server, alice: Visitor, bob: Visitor, protocol: str) -> None:
    item = new_item()
    async with (
        connect(server, protocol, item, token=alice.token) as a,
        connect(server, protocol, item, token=bob.token) as b,
    ):
        for page, reaction, counts in (
            (a, "like", LIKE),
            (b, "like", {"like": 2}),
            (a, "dislike", {"like": 1, "dislike": 1}),
            (a, "dislike", {"like": 1, "dislike": 1}),
            (b, None, {"dislike": 1}),
            (b, "dislike", {"dislike": 2}),
            (a, None, {"dislike": 1}),
        ):
            ack = await page.react(item, reaction)
            assert ack["counts"] == ZERO | counts
            for each in (a, b):
                assert (await each.until_shows(item, **counts)).version == ack["version"]
        assert (a.mine[item].reaction, b.mine[item].reaction) == (None, "dislike")


async def test_one_vote_whatever_the_tabs_send(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    async with (
        connect(server, protocol, item, token=alice.token) as one,
        connect(server, protocol, item, token=alice.token) as two,
    ):
        refs = [
            (page, await page.post("react", item=item, reaction="like"))
            for page in (one, two)
            for _ in range(20)
        ]
        versions = {(await page.answer(ref))["version"] for page, ref in refs}
        assert len(versions) == 1
        await http.react(item, "like", alice.token)
        for page in (one, two):
            assert (await page.until_shows(item, like=1)).version in versions


async def test_unauthorized_without_auth(server: Server, http: Http, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item) as page:
        for reaction in ("like", "dislike", None):
            error = await page.refused("react", "unauthorized", item=item, reaction=reaction)
            assert error["item"] == item
        await page.ping()
    assert (await http.item(item))["version"] == 0


# -------------------------------------------------------------------------------------------- mine


async def test_mine_comes_after_watch_for_what_is_held(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    held, cleared, theirs, untouched = (new_item() for _ in range(4))
    put = await http.react(held, "like", alice.token)
    await http.react(cleared, "like", alice.token)
    await http.react(cleared, None, alice.token)
    await http.react(theirs, "like", bob.token)
    async with connect(server, protocol, token=alice.token) as page:
        for since in (None, {held: put["version"]}):  # `mine` comes whether or not the snapshot does
            watched = await page.watch(held, cleared, theirs, untouched, since=since)
            mine = {item: f["reaction"] for item, f in watched.mine.items() if f["reaction"] is not None}
            assert mine == {held: "like"}
            assert watched.mine[held]["version"] == put["version"]
        assert page.mine[held].reaction == "like"


async def test_mine_comes_with_auth_for_what_is_watched(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    held, cleared, unwatched, opened = (new_item() for _ in range(4))
    for item in (held, cleared, unwatched, opened):
        await http.react(item, "dislike", alice.token)
    await http.react(cleared, None, alice.token)
    async with connect(server, protocol, opened) as page:
        await page.watch(held, cleared)
        before = len(page.frames)
        ready = await page.auth(alice.token)
        assert ready["visitor"] == alice.id
        came = page.frames[before : page.frames.index(ready)]
        mine = {f["item"]: f["reaction"] for f in came if f["type"] == "mine" and f["reaction"] is not None}
        assert mine == {held: "dislike", opened: "dislike"}


async def test_anonymous_connections_get_no_mine(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    await http.react(item, "like", alice.token)
    async with connect(server, protocol, item) as page:
        assert (await page.watch(item)).mine == {}
        ack = await http.react(item, "dislike", alice.token)
        await page.next("counts", item=item, version=ack["version"])
        await page.ping()
        assert [f for f in page.frames if f["type"] == "mine"] == []


async def test_mine_in_another_tab_and_on_another_device(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    item = new_item()
    renewed = await http.visitor(alice.token)
    other = MSGPACK if protocol == JSON else JSON
    async with (
        connect(server, protocol, item, token=alice.token) as tab,
        connect(server, other, item, token=renewed.token) as device,
        connect(server, protocol, item, token=bob.token) as stranger,
    ):
        for reaction in ("like", "dislike", None, "like"):
            ack = await device.react(item, reaction)
            await tab.until_mine(item, reaction, ack["version"])
        for reaction in (None, "dislike"):
            ack = await http.react(item, reaction, alice.token)
            await tab.until_mine(item, reaction, ack["version"])
            await device.until_mine(item, reaction, ack["version"])
        assert (await tab.watch(item)).mine[item]["reaction"] == "dislike"
        await stranger.until_shows(item, dislike=1)
        assert (await stranger.watch(item)).mine.get(item, {}).get("reaction") is None
        assert [f for f in stranger.frames if f["type"] == "mine" and f["reaction"] is not None] == []


async def test_mine_is_never_older_than_what_it_replaces(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    """A client drops a `mine` older than the last ack or `mine`: after `auth` as another it must not be."""
    item = new_item()
    await http.react(item, "dislike", bob.token)
    async with connect(server, protocol, item, token=alice.token) as page:
        ack = await page.react(item, "like")
        await page.auth(bob.token)
        assert (await page.next("mine", item=item, reaction="dislike"))["version"] >= ack["version"]
        assert page.mine[item].reaction == "dislike"
        await page.auth(alice.token)
        assert page.mine[item].reaction == "like"


# ------------------------------------------------------------------------------ without awaiting


async def test_many_reactions_without_awaiting(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    walk = (["like", "dislike", None, "dislike", "like"] * 20)[:-1]
    async with connect(server, protocol, item, token=alice.token) as page:
        refs = [await page.post("react", item=item, reaction=reaction) for reaction in walk]
        acks = [await page.answer(ref) for ref in refs]
        assert {a["type"] for a in acks} == {"ack"}
        versions = [a["version"] for a in acks]
        assert versions == sorted(versions), "they take effect in the order sent"
        for earlier, later in pairwise(acks):
            assert (earlier["version"] == later["version"]) == (earlier["reaction"] == later["reaction"])
        for ack in acks:
            held = ack["reaction"]
            assert ack["counts"] == (ZERO if held is None else ZERO | {held: 1})
        await page.until_shows(item, dislike=1)
        assert page.mine[item].reaction == walk[-1] == "dislike"
    assert (await http.item(item, alice.token))["reaction"] == "dislike"


async def test_everything_without_awaiting(server: Server, alice: Visitor, protocol: str) -> None:
    item, other = new_item(), new_item()
    async with connect(server, protocol) as page:
        steps: list[tuple[str, Frame, str]] = [
            ("ping", {}, "pong"),
            ("react", {"item": item, "reaction": "like"}, "error"),
            ("auth", {"token": alice.token}, "ready"),
            ("watch", {"items": [item, other]}, "watching"),
            ("react", {"item": item, "reaction": "like"}, "ack"),
            ("react", {"item": other, "reaction": "love"}, "error"),
            ("react", {"item": other, "reaction": "dislike"}, "ack"),
            ("unwatch", {"items": [item]}, "unwatched"),
            ("react", {"item": item, "reaction": None}, "ack"),
            ("watch", {"items": [item]}, "watching"),
            ("dance", {}, "error"),
            ("ping", {}, "pong"),
        ]
        refs = [await page.post(kind, **fields) for kind, fields, _ in steps]
        for ref, (kind, _, answer) in zip(refs, steps, strict=True):
            assert (await page.answer(ref))["type"] == answer, kind
        await page.until_shows(item)
        await page.until_shows(other, dislike=1)
        assert page.mine[item].reaction is None
        assert page.mine[other].reaction == "dislike"


async def test_watch_sees_the_reaction_sent_before_it(server: Server, alice: Visitor, protocol: str) -> None:
    async with connect(server, protocol, token=alice.token) as page:
        for _ in range(10):
            item = new_item()
            reacted = await page.post("react", item=item, reaction="like")
            watching = await page.answer(await page.post("watch", items=[item]))
            ack = await page.answer(reacted)
            until = page.frames.index(watching)
            snapshot = [f for f in page.frames[:until] if f["type"] == "counts" and f["item"] == item]
            assert snapshot[-1]["version"] >= ack["version"]
            assert page.mine[item].reaction == "like"


async def test_identity_changes_between_reactions(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    item, late = new_item(), new_item()
    async with connect(server, protocol, item) as page:
        refs = [
            await page.post("auth", token=alice.token),
            await page.post("react", item=item, reaction="like"),
            await page.post("auth", token=bob.token),
            await page.post("react", item=item, reaction="dislike"),
            await page.post("auth", token=alice.token),
            await page.post("react", item=item, reaction=None),
            await page.post("auth", token="nonsense"),
            await page.post("react", item=late, reaction="like"),
            await page.post("auth", token=bob.token),
        ]
        answers = [await page.answer(ref) for ref in refs]
        assert [a.get("visitor") for a in answers[::2]] == [alice.id, bob.id, alice.id, None, bob.id]
        assert [a["counts"] for a in answers[1:6:2]] == [LIKE, {"like": 1, "dislike": 1}, DISLIKE]
        assert (answers[6]["code"], answers[7]["code"]) == ("unauthorized", "unauthorized")
        await page.until_shows(item, dislike=1)
        assert page.mine[item].reaction == "dislike"
    assert (await http.item(late))["version"] == 0
    assert (await http.item(item, bob.token))["reaction"] == "dislike"
    assert (await http.item(item, alice.token))["reaction"] is None


async def test_mine_of_the_identity_that_holds_at_the_end(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    item = new_item()
    await http.react(item, "like", alice.token)
    await http.react(item, "dislike", bob.token)
    async with connect(server, protocol) as page:
        for _ in range(5):
            refs = [
                await page.post("auth", token=alice.token),
                await page.post("watch", items=[item]),
                await page.post("auth", token=bob.token),
            ]
            for ref in refs:
                await page.answer(ref)
            await page.ping()
            assert [f for f in page.frames if f["type"] == "mine"][-1]["reaction"] == "dislike"


async def test_former_identity_is_left_behind(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    """After `auth` as another, what the first does elsewhere is no longer mine."""
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        await page.auth(bob.token)
        ack = await http.react(item, "like", alice.token)
        await page.next("counts", item=item, version=ack["version"])
        await page.ping()
        assert [f for f in page.frames if f["type"] == "mine" and f["reaction"] is not None] == []
        await http.react(item, "dislike", bob.token)
        await page.until_mine(item, "dislike")


async def test_what_others_do_in_between(server: Server, alice: Visitor, bob: Visitor, protocol: str) -> None:
    """Two people at full speed: every ack is one of the states, each page ends on the last."""
    item = new_item()

    async def burst(page: Client, walk: list[str | None]) -> list[int]:
        return [await page.post("react", item=item, reaction=reaction) for reaction in walk]

    async with (
        connect(server, protocol, item, token=alice.token) as a,
        connect(server, protocol, item, token=bob.token) as b,
    ):
        refs_a = await burst(a, ["like", None] * 25 + ["like"])
        refs_b = await burst(b, ["dislike", "like"] * 25)
        acks = [await a.answer(ref) for ref in refs_a] + [await b.answer(ref) for ref in refs_b]
        assert len({f["version"] for f in acks}) == len(acks), "each of them changed something"
        last = max(f["version"] for f in acks)
        for page in (a, b):
            shown = await page.until_at(item, last)
            assert (shown.version, shown.counts) == (last, {"like": 2, "dislike": 0})


# ------------------------------------------------------------------------------------------- items

VALID = [
    "a",
    "A",
    "á",
    "a\u0301",
    "a b",
    " a",
    "a ",
    "x*",
    "xa",
    "x?",
    "[x]",
    "{x}",
    "{x}:y",
    "a:b:c",
    "a\\b",
    'a"b',
    "a'b",
    "<a>",
    "../a",
    "posts/42",
    "100%",
    "%41",
    "a+b",
    "a&b=c",
    "\u00a0",
    "\u2028",
    "\ufeff",
    "\uffff",
    "~",
    "\U0001f44d",
    "مرحبا",
    "__proto__",
    "null",
    "0",
    "\ufdd0",
]


async def test_ids_are_compared_byte_for_byte(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    mark = new_item("·")
    items = [f"{mark}{name}{mark[:1]}" for name in VALID]
    async with connect(server, protocol, token=alice.token) as page:
        await page.watch(*items)
        for item in items[::2]:
            await page.react(item, "like")
        for i, item in enumerate(items):
            await page.until_shows(item, like=1 - i % 2)
        seen = await http.items(*items, token=alice.token)
        assert [e["item"] for e in seen] == items
        assert [e["counts"]["like"] for e in seen] == [1 - i % 2 for i in range(len(items))]
        watched = await page.watch(*items)
        assert {i for i, f in watched.mine.items() if f["reaction"]} == set(items[::2])


@pytest.mark.parametrize("unit", ["x", "é", "€", "\U0001f44d"])
async def test_256_bytes_are_allowed(
    server: Server, http: Http, alice: Visitor, protocol: str, unit: str
) -> None:
    item = new_item()
    item += unit * ((256 - len(item)) // len(unit.encode()))
    item += "x" * (256 - len(item.encode()))
    async with connect(server, protocol, item, token=alice.token) as page:
        ack = await page.react(item, "like")
        await page.until_shows(item, like=1)
        assert (await http.item(item))["version"] == ack["version"]
        await page.refused("react", "bad_item", item=item + "x", reaction="like")
