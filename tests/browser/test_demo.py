"""The demo page: what somebody sees first."""

import re

from playwright.async_api import expect

from .tabs import NewTab, Server, looks


async def test_it_is_live_and_its_two_widgets_agree(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(server.url)
    await expect(tab.page.locator("#link")).to_have_text("Live")
    await expect(tab.widgets(1).like).to_have_text(re.compile(r"\d"))

    await tab.event("tallycast:react", tab.widgets(0).like.click)

    await tab.widgets(1).holds("like")
    await expect(tab.page.locator("#origin")).to_have_text(server.url)
    await tab.event("tallycast:react", tab.widgets(0).like.click)  # and leave it as it was


async def test_nothing_sticks_out(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(server.url)
    await expect(tab.widget.like).to_have_text(re.compile(r"\d"))
    async for width, _, _ in looks(tab.page, [(280, 700), (360, 700), (1100, 700)]):
        assert await tab.page.evaluate("document.documentElement.scrollWidth") == width
