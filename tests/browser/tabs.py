"""What a person sees and does: tabs, and the widget found by role and name.

Owns the words that the tests are written in. Must not know how the widget works inside.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Literal, Protocol

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Route, expect

# What a careful publisher would send with their page.
STRICT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws:; img-src 'self' data:; "
    "require-trusted-types-for 'script'"
)

HEAD = '<script src="/embed.js" async></script>'

# How long anything may take, in seconds: many times what it does, because the machine may be busy.
PATIENCE = 30.0

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

_numbers = itertools.count(1)


async def wait_until(look: Callable[[], Awaitable[object]], wanted: object, within: float = PATIENCE) -> None:
    """Wait until a look at the page finds what is wanted."""
    deadline = asyncio.get_running_loop().time() + within
    while (found := await look()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{found!r}, not {wanted!r}"
        await asyncio.sleep(0.02)


class Server(Protocol):
    """A running server, as the suite above starts it."""

    url: str

    def kill(self) -> None: ...
    def restart(self) -> None: ...


def fresh_item() -> str:
    """An untouched item."""
    return f"browser/{next(_numbers)}"


class Widget:
    """One `<live-reactions>` on a page."""

    def __init__(self, element: Locator) -> None:
        self.element = element
        self.like = element.get_by_role("button", name="Like", exact=True)
        self.dislike = element.get_by_role("button", name="Dislike", exact=True)
        self.status = element.get_by_role("status")

    async def shows(self, *, like: int, dislike: int) -> None:
        """Wait until the counts are these."""
        await expect(self.like).to_have_text(str(like))
        await expect(self.dislike).to_have_text(str(dislike))

    async def is_stale(self, stale: bool) -> None:
        """Wait until it says that it is out of date, or no longer."""
        matches = "element => element.matches(':state(stale)')"
        await wait_until(lambda: self.element.evaluate(matches), stale)

    async def holds(self, reaction: str | None) -> None:
        """Wait until the person's own vote is shown as this."""
        await expect(self.like).to_have_attribute("aria-pressed", str(reaction == "like").lower())
        await expect(self.dislike).to_have_attribute("aria-pressed", str(reaction == "dislike").lower())


class Tab:
    """A page, what it complained about, and the sockets it opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.tolerant = False
        self.sockets: list[str] = []
        self._complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("websocket", lambda socket: self.sockets.append(socket.url))

    @property
    def complaints(self) -> list[str]:
        return [] if self.tolerant else self._complaints

    @property
    def widget(self) -> Widget:
        """The first one on the page."""
        return self.widgets(0)

    def widgets(self, index: int) -> Widget:
        return Widget(self.page.locator("live-reactions").nth(index))

    async def visit(
        self, server: Server, body: str, policy: str = STRICT_POLICY, head: str = HEAD, path: str = "host"
    ) -> None:
        """Open a publisher's page: `body`, the script, and nothing else. It is on the server's origin."""
        await host(self.page, server.url, body, policy, head, path)

    async def event(self, name: str, action: Callable[[], Awaitable[Any]]) -> Any:
        """The detail of the next event called `name` that `action` causes: see below."""
        return await event(self.page, name, action)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complaints.append(message.text)


async def event(page: Page, name: str, action: Callable[[], Awaitable[Any]]) -> Any:
    """The detail of the next event called `name` that reaches the document, which `action` causes.

    Nothing else may still be on its way that fires one: wait for what is shown before.
    """
    received = await page.evaluate_handle(
        """name => ({
          next: new Promise(tell => {
            document.addEventListener(name, ({ detail }) => tell(detail), { once: true });
          }),
        })""",
        name,
    )
    async with asyncio.timeout(PATIENCE):
        await action()
        return await received.evaluate("received => received.next")


async def looks(page: Page, sizes: Iterable[tuple[int, int]]) -> AsyncIterator[tuple[int, int, Scheme]]:
    """One page in each of these sizes, and in both themes, without loading it again."""
    for width, height in sizes:
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            yield width, height, scheme


NewPerson = Callable[[], Awaitable[BrowserContext]]
NewTab = Callable[..., Awaitable[Tab]]


async def host(
    page: Page, origin: str, body: str, policy: str = STRICT_POLICY, head: str = HEAD, path: str = "host"
) -> None:
    """Let `page` load a document that no server has: a stranger's, with the embed script in its head."""
    html = (
        '<!doctype html><html lang="en"><title>A stranger’s page</title><link rel="icon" href="data:,">'
        f"{head}<body>{body}</body></html>"
    )

    async def fulfill(route: Route) -> None:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
        await route.fulfill(body=html, headers=headers)

    await page.route(f"{origin}/{path}", fulfill)
    await page.goto(f"{origin}/{path}")
