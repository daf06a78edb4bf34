"""A publisher's users on a real server: after having been a stranger, on two devices, one after another."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest

from tests.conftest import MakeServer
from tests.support.signing import SECRET

from .tabs import HEAD, STRICT_POLICY, NewTab, Server, Tab, fresh_item

SITE = HEAD.replace("async", 'data-site="blog" async')


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Server:
    sites = tmp_path / "tallycast.toml"
    sites.write_text(
        f'[sites.blog]\norigins = ["*"]\n[[sites.blog.tokens]]\nalgorithm = "HS256"\nsecret = "{SECRET}"\n'
    )
    return make_server(flags=["--config", str(sites)])


async def visit(tab: Tab, server: Server, item: str) -> None:
    await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>', STRICT_POLICY, SITE)
    await tab.widget.is_stale(False)


async def sign_in(tab: Tab, user: str) -> None:
    now = int(time.time())
    token = jwt.encode({"sub": user, "aud": "blog", "iat": now, "exp": now + 600}, SECRET, "HS256")
    await tab.page.evaluate("token => tallycast.auth(async () => token)", token)


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
