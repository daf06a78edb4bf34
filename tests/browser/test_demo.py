"""The demo page: what somebody sees first."""

import re

import pytest
from playwright.async_api import expect
from tallycast.api.pages import DEMO

from .tabs import NewTab, Server, host, looks


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


@pytest.mark.parametrize("path", DEMO)
async def test_no_page_of_somebody_elses_frames_it(server: Server, new_tab: NewTab, path: str) -> None:
    """A click on what lies beneath would vote, or later do what an administrator may."""
    tab = await new_tab()
    tab.tolerant = True
    frame = f'<iframe src="{server.url}{path}"></iframe>'
    async with tab.page.expect_console_message(lambda answer: "frame-ancestors" in answer.text):
        await host(tab.page, "http://publisher.test", frame, policy="")
