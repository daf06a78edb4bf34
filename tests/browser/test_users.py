"""A publisher's users on a real server: after having been a stranger, on two devices, one after another."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path

import httpx
import jwt
import pytest

from tests.conftest import MakeServer
from tests.support.signing import SECRET

from .tabs import HEAD, STRICT_POLICY, NewTab, Server, Tab, fresh_item

KEY = "the admin key of the tests"
SITE = HEAD.replace("async", 'data-site="blog" async')


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Server:
    sites = tmp_path / "tallycast.toml"
    sites.write_text(
        f'[sites.blog]\norigins = ["*"]\nadmin_keys = ["sha256:{sha256(KEY.encode()).hexdigest()}"]\n'
        f'[[sites.blog.tokens]]\nalgorithm = "HS256"\nsecret = "{SECRET}"\n'
    )
    return make_server(flags=["--config", str(sites)])


async def visit(tab: Tab, server: Server, item: str) -> None:
    await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>', STRICT_POLICY, SITE)
    await tab.widget.is_stale(False)


async def sign_in(tab: Tab, user: str) -> None:
    now = int(time.time())
    token = jwt.encode({"sub": user, "aud": "blog", "iat": now, "exp": now + 600}, SECRET, "HS256")
    await tab.page.evaluate("token => tallycast.auth(async () => token)", token)


async def test_a_vote_that_was_taken_back_by_the_publisher(new_tab: NewTab, server: Server) -> None:
    """Two tabs of one person: no button stays pressed, and the next click is a vote again."""
    item = fresh_item()
    one = await new_tab()
    two = await new_tab(one.page.context)
    for tab in (one, two):
        await visit(tab, server, item)
    for what in ("reset", "remove", "erase"):
        for tab in (one, two):
            await sign_in(tab, "ann")
        await one.event("tallycast:react", one.widget.like.click)
        for tab in (one, two):
            await tab.widget.holds("like")
        async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}) as http:
            where = {"site": "blog"} if what == "erase" else {"site": "blog", "item": item}
            body = {"visitor": "u:ann"} if what == "erase" else None
            done = await http.post(f"/v1/admin/{what}", params=where, json=body)
        assert done.status_code == 200, done.text
        for tab in (one, two):
            await tab.widget.holds(None)
            await tab.widget.shows(like=0, dislike=0)


async def test_users(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    desk, phone = await new_tab(), await new_tab()
    for tab in (desk, phone):
        await visit(tab, server, item)

    # A stranger votes, and turns out to be Ann: the vote is hers, and counted once.
    await desk.event("tallycast:react", desk.widget.like.click)
    await sign_in(desk, "ann")
    await desk.page.wait_for_function(
        "key => !JSON.parse(localStorage[key])", arg=f"tallycast:{server.url}:blog"
    )
    await desk.widget.shows(like=1, dislike=0)
    await desk.widget.holds("like")

    # Her two devices agree.
    await sign_in(phone, "ann")
    await phone.widget.holds("like")
    await phone.event("tallycast:react", phone.widget.dislike.click)
    await desk.widget.holds("dislike")
    await desk.widget.shows(like=0, dislike=1)

    # Bob comes after her at the same desk: he holds nothing, and votes as himself.
    await sign_in(desk, "bob")
    await desk.widget.holds(None)
    await desk.event("tallycast:react", desk.widget.like.click)
    await phone.widget.shows(like=1, dislike=1)
    await phone.widget.holds("dislike")

    # Nobody does, after him.
    await desk.page.evaluate("tallycast.auth(null)")
    await desk.widget.holds(None)
    await desk.widget.shows(like=1, dislike=1)
