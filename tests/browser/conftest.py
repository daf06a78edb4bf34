"""Fixtures of the browser tests. `server` and `make_server` come from the suite above."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from .chromium import launch
from .script import ScriptedServer
from .tabs import PATIENCE, NewPerson, NewTab, Tab

HERE = Path(__file__).parent

expect.set_options(timeout=PATIENCE * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One browser serves all tests, so they share the loop that it was started on."""
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright, await launch(playwright) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def new_person(browser: Browser) -> AsyncIterator[NewPerson]:
    """Somebody with a browser profile of their own: nothing is shared with anybody else's."""
    async with AsyncExitStack() as closing:

        async def person() -> BrowserContext:
            return await closing.enter_async_context(await browser.new_context())

        yield person


@pytest_asyncio.fixture(loop_scope="session")
async def new_tab(new_person: NewPerson) -> AsyncIterator[NewTab]:
    """A tab of `person`, or of somebody new. Every tab must end without a complaint in its console."""
    tabs: list[Tab] = []

    async def tab(person: BrowserContext | None = None) -> Tab:
        page = await (person or await new_person()).new_page()
        tabs.append(Tab(page))
        return tabs[-1]

    yield tab
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_tab: NewTab) -> Page:
    """A page with nothing on it, for tests that script the server: its complaints go nowhere."""
    tab = await new_tab()
    tab.tolerant = True
    return tab.page


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(page: Page) -> ScriptedServer:
    """A server played by the test, under `page`."""
    server = ScriptedServer(page)
    await server.install()
    return server
