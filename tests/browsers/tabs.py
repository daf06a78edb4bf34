"""What a person sees and does, in any browser: tabs, and the widgets in them.

Owns the words that the tests are written in. A selector reaches into shadow roots with `>>>`. Does not
depend on a kind of browser.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, Protocol

from tests.browser.tabs import PATIENCE, Server, fresh_item, wait_until

from .interface import Person, Window
from .publisher import Publisher

__all__ = ["PATIENCE", "NewTab", "Server", "Tab", "Widget", "fresh_item", "wait_until"]

FIND = """(path) => path.split('>>>').reduce((root, selector) =>
  root && (root.shadowRoot || root).querySelector(selector), document)"""
CENTRE = f"""async (path) => {{
  const element = ({FIND})(path);
  if (!element) return null;
  element.scrollIntoView({{ block: 'nearest' }});
  const {{ x, y, width, height }} = element.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}}"""


class Tab:
    def __init__(self, person: Person, window: Window, publisher: Publisher) -> None:
        self.person = person
        self.publisher = publisher
        self._window = window

    async def open(self, url: str) -> None:
        await self._window.open(url)

    async def back(self, url: str) -> None:
        """Go back to the page before, which has this URL."""
        await self._window.back()
        await self.waits("() => [location.href, document.readyState]", [url, "complete"])

    async def visit(
        self,
        server: Server,
        body: str,
        *,
        head: str = "",
        policy: str = "",
        path: str = "",
        host: str = "",
    ) -> str:
        """Open a publisher's page with the script of `server`, and return its URL.

        A policy has to allow scripts of 'self' (the recorder) and of the server. `head` comes before the
        script.
        """
        html = (
            '<!doctype html><html lang="en"><title>A page</title><link rel="icon" href="data:,">'
            f'<script src="/recorder.js"></script>{head}<script src="{server.url}/embed.js" async></script>'
            f"<body>{body}</body></html>"
        )
        headers = {"Content-Security-Policy": policy} if policy else {}
        url = self.publisher.put(html, path, host, headers)
        await self.open(url)
        return url

    async def evaluate(self, function: str, *arguments: object) -> Any:
        """Call a JavaScript function with JSON values; what it returns, or promises, is one too."""
        call = f"async (given) => JSON.stringify({{ value: await ({function})(...JSON.parse(given)) }})"
        return json.loads(await self._window.call(call, json.dumps(arguments))).get("value")

    async def query(self, selector: str, function: str, *arguments: object) -> Any:
        """Call a JavaScript function with the element found, and JSON values."""
        call = f"(path, ...rest) => ({function})(({FIND})(path), ...rest)"
        return await self.evaluate(call, selector, *arguments)

    async def waits(self, function: str, wanted: object = True, *arguments: object) -> None:
        """Wait until a JavaScript function returns what is wanted."""
        await wait_until(lambda: self.evaluate(function, *arguments), wanted)

    async def click(self, selector: str) -> None:
        """Click the middle of an element, once it is there."""
        await self._window.click(*await self._centre(selector))

    async def is_named(self, selector: str, name: str) -> bool:
        """Whether this is the name that the browser gives assistive technology for an element."""
        return await self._window.is_named(f"() => ({FIND})({json.dumps(selector)})", name)

    async def hover(self, selector: str) -> None:
        await self._window.move(*await self._centre(selector))

    async def press(self, key: str) -> None:
        """Press a key: Tab, Enter, Escape, Space or a character."""
        await self._window.press(key)

    async def console(self) -> list[str]:
        """What the page said: "warn: …", "uncaught: …", "refused: …" (by its policy)."""
        said: list[str] = await self.evaluate("() => window.recorded ?? []")
        return said

    async def resize(self, width: int, height: int) -> None:
        await self._window.resize(width, height)
        await self.waits("() => [innerWidth, innerHeight]", [width, height])

    async def screenshot(self) -> bytes:
        return await self._window.screenshot()

    async def close(self) -> None:
        await self._window.close()

    def widget(self, item: str = "") -> Widget:
        """The first widget, or that of an item."""
        return Widget(self, f'live-reactions[item="{item}"]' if item else "live-reactions")

    async def _centre(self, selector: str) -> tuple[float, float]:
        found: list[tuple[float, float]] = []

        async def look() -> bool:
            centre = await self.evaluate(CENTRE, selector)
            if centre:
                found.append(centre)
            return bool(centre)

        await wait_until(look, True)
        return found[0]


class Widget:
    """One `<live-reactions>` on a page."""

    def __init__(self, tab: Tab, selector: str) -> None:
        self.tab = tab
        self.selector = selector

    def button(self, kind: str) -> str:
        """The selector of a button."""
        return f'{self.selector} >>> button[part~="{kind}"]'

    async def click(self, kind: str) -> None:
        await self.tab.click(self.button(kind))

    async def shows(self, **counts: int) -> None:
        """Wait until the counts are these."""
        read = "({ shadowRoot }, kinds) => kinds.map((kind) => " + (
            'shadowRoot?.querySelector(`[part~="${kind}"] [part=count]`)?.textContent)'
        )
        wanted = [str(count) for count in counts.values()]
        await wait_until(lambda: self.tab.query(self.selector, read, list(counts)), wanted)

    async def holds(self, reaction: str | None) -> None:
        """Wait until the person's own vote is shown as this."""
        read = "({ shadowRoot }) => shadowRoot?.querySelector('[aria-pressed=true]')?.part[0] ?? null"
        await wait_until(lambda: self.tab.query(self.selector, read), reaction)

    async def says(self, text: str) -> None:
        """Wait until the status reads so."""
        read = "({ shadowRoot }) => shadowRoot?.querySelector('[role=status]').textContent"
        await wait_until(lambda: self.tab.query(self.selector, read), text)


class NewTab(Protocol):
    """Opens a tab of a person, or of a new one with these preferences."""

    def __call__(self, person: Person | None = None, *, dark: bool = False) -> Awaitable[Tab]: ...
