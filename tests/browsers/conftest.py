"""Fixtures of the tests in three browsers: ``new_tab`` opens a tab in each of them.

``make test`` runs every test in Chromium, and those marked ``every_browser`` in the others too.
``make browsers`` sets ``TALLYCAST_BROWSERS=full`` and runs every test in all of them. `server` and
`make_server` come from the suite above.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from .chromium import Chromium
from .firefox import Firefox
from .interface import Browser, Person, Preferences
from .publisher import Publisher
from .tabs import NewTab, Tab
from .webkit import Webkit

HERE = Path(__file__).parent
KINDS: dict[str, type[Chromium | Firefox | Webkit]] = {
    "chromium": Chromium,
    "firefox": Firefox,
    "webkit": Webkit,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "browser" not in metafunc.fixturenames:
        return
    everywhere = os.environ.get("TALLYCAST_BROWSERS") == "full" or any(
        metafunc.definition.iter_markers("every_browser")
    )
    metafunc.parametrize(
        "browser", list(KINDS) if everywhere else ["chromium"], indirect=True, scope="session"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser serves all tests, so they share the loop that it was started on."""
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def publisher() -> Iterator[Publisher]:
    """Its pages are an origin of their own, and may have any host."""
    publisher = Publisher()
    yield publisher
    publisher.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers(publisher: Publisher) -> AsyncIterator[dict[str, Browser]]:
    """Those that were started, by kind: once in a session, whatever the order of the tests."""
    started: dict[str, Browser] = {}
    yield started
    for browser in started.values():
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(
    request: pytest.FixtureRequest, browsers: dict[str, Browser], publisher: Publisher
) -> Browser:
    kind: str = request.param
    if kind not in browsers:
        browsers[kind] = await KINDS[kind].start(publisher.address)
    return browsers[kind]


@pytest_asyncio.fixture(loop_scope="session")
async def new_tab(browser: Browser, publisher: Publisher) -> AsyncIterator[NewTab]:
    """A tab of `person`, or of a new person with these preferences."""
    async with AsyncExitStack() as closing:

        async def tab(person: Person | None = None, *, dark: bool = False) -> Tab:
            if person is None:
                person = await browser.person(Preferences(dark))
                closing.push_async_callback(person.close)
            return Tab(person, await person.window(), publisher)

        yield tab
