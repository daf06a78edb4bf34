"""The demo page: what somebody sees first."""

import re
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from .tabs import NewTab, Server, Tab

Scheme = Literal["light", "dark"]


async def test_it_is_live_and_its_two_widgets_agree(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(server.url)
    await expect(tab.page.locator("#link")).to_have_text("Live")
    await expect(tab.widgets(1).like).to_have_text(re.compile(r"\d"))

    await tab.event("tallycast:react", tab.widgets(0).like.click)

    await tab.widgets(1).holds("like")
    await expect(tab.page.locator("#origin")).to_have_text(server.url)
    await tab.event("tallycast:react", tab.widgets(0).like.click)  # and leave it as it was


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [280, 360, 1100])
async def test_nothing_sticks_out(server: Server, browser: Browser, width: int, scheme: Scheme) -> None:
    async with await browser.new_context(
        viewport={"width": width, "height": 700}, color_scheme=scheme
    ) as context:
        tab = Tab(await context.new_page())
        await tab.page.goto(server.url)
        await expect(tab.widget.like).to_have_text(re.compile(r"\d"))

        assert await tab.page.evaluate("document.documentElement.scrollWidth") == width
        assert tab.complaints == []
