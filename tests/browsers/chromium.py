"""Chromium, by Playwright."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.chromium import launch

from .interface import Preferences


class ChromiumWindow:
    def __init__(self, page: Page) -> None:
        self._page = page

    async def open(self, url: str) -> None:
        await self._page.goto(url)

    async def back(self) -> None:
        await self._page.go_back()

    async def call(self, function: str, arguments: str) -> str:
        answer: str = await self._page.evaluate(function, arguments)
        return answer

    async def is_named(self, element: str, name: str) -> bool:
        session = await self._page.context.new_cdp_session(self._page)
        found = await session.send("Runtime.evaluate", {"expression": f"({element})()"})
        of = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
        tree = await session.send("Accessibility.getPartialAXTree", of)
        await session.detach()
        computed: str = tree["nodes"][0]["name"]["value"]
        return computed == name

    async def move(self, x: float, y: float) -> None:
        await self._page.mouse.move(x, y)

    async def click(self, x: float, y: float) -> None:
        await self._page.mouse.click(x, y)

    async def press(self, key: str) -> None:
        await self._page.keyboard.press(key)

    async def resize(self, width: int, height: int) -> None:
        await self._page.set_viewport_size({"width": width, "height": height})

    async def screenshot(self) -> bytes:
        return await self._page.screenshot()

    async def close(self) -> None:
        await self._page.close()


class ChromiumPerson:
    def __init__(self, context: BrowserContext) -> None:
        self._context = context

    async def window(self) -> ChromiumWindow:
        return ChromiumWindow(await self._context.new_page())

    async def close(self) -> None:
        await self._context.close()


class Chromium:
    def __init__(self, browser: Browser, closing: AsyncExitStack, proxy: str) -> None:
        self._browser = browser
        self._closing = closing
        self._proxy = proxy

    @classmethod
    async def start(cls, proxy: str) -> Self:
        closing = AsyncExitStack()
        playwright = await closing.enter_async_context(async_playwright())
        return cls(await closing.enter_async_context(await launch(playwright)), closing, proxy)

    async def person(self, preferences: Preferences) -> ChromiumPerson:
        return ChromiumPerson(
            await self._browser.new_context(
                color_scheme="dark" if preferences.dark else "light",
                proxy={"server": f"http://{self._proxy}", "bypass": "127.0.0.1,localhost"},
            )
        )

    async def close(self) -> None:
        await self._closing.aclose()
