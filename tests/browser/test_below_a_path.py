"""In a browser, behind a proxy that serves the server below a path: pages, links, votes."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tallycast.api.embed import installed, snippet

from tests.conftest import MakeServer
from tests.support.below import below

from .tabs import NewTab, Server, host

PATH = "/tally/"


@pytest.mark.parametrize("strips", [True, False], ids=["taken off", "passed on"])
async def test_pages_and_votes(
    server: Server, make_server: MakeServer, new_tab: NewTab, *, strips: bool
) -> None:
    """Without any setting where the path is taken off, with the base path where it is passed on."""
    behind = server if strips else make_server(env={"TALLYCAST_BASE_PATH": PATH})
    async with below(behind.url, PATH, strips=strips) as url:
        tab = await new_tab()
        await tab.page.goto(f"{url}/")
        await expect(tab.page.locator("#link")).to_have_text("Live")
        await expect(tab.page.locator("#origin")).to_have_text(url)
        assert [socket.partition("?")[0] for socket in tab.sockets] == [f"{url.replace('http', 'ws')}/ws"]
        for name, path in (("Wall", "/demo/wall"), ("Article", "/"), ("Display", "/live")):
            await tab.page.get_by_role("link", name=name, exact=True).click()
            await expect(tab.page).to_have_url(url + path)
            await expect(tab.page.locator("#link")).to_have_text("Live")

        lines = snippet(installed(), f"{url}/", "default", f"below/{strips}", pinned=False)
        origin = url.removesuffix(PATH.rstrip("/"))
        page = await new_tab()
        policy = "default-src 'none'; script-src 'self'; connect-src 'self' ws:; img-src data:"
        await host(page.page, origin, lines, policy, head="")
        await page.event("tallycast:react", page.widget.like.click)
        await page.widget.shows(like=1, dislike=0)
        await page.widget.holds("like")
