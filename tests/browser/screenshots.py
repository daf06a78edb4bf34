"""Makes the pictures in docs/: ``python -m tests.browser.screenshots``, or ``make screenshots``.

``screenshot.png``: two people with the demo page open, who see the same numbers, on a server of its own.
``widget-SCHEME-WIDTH.png``: the element in a page, in both themes and three widths.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.process import ServerProcess

from .chromium import launch
from .script import ORIGIN, ScriptedServer
from .tabs import Widget, host

Scheme = Literal["light", "dark"]
DOCS = Path(__file__).parents[2] / "docs"
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTHS = (280, 600, 900)
SCALE = 1.5

# The demo page, seen by two

ITEM = "demo/tally-sticks"
VOTES = [*["like"] * 41, *["dislike"] * 5]
FRAME = """
<!doctype html>
<style>
  body { margin: 0 }
  main { display: flex; gap: 28px; padding: 36px; width: max-content; background: #b9c8c0 }
  img { display: block; width: 620px; border-radius: 12px; box-shadow: 0 18px 50px rgb(20 40 30 / .32) }
</style>
<main><img src="data:image/png;base64,%s"><img src="data:image/png;base64,%s"></main>
"""


def call(method: str, url: str, token: str = "", body: object = None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request) as response:
        answer: dict[str, str] = json.load(response)
    return answer


def vote(server: str) -> None:
    """Some readers who were here before."""
    query = urllib.parse.urlencode({"site": "default", "item": ITEM})
    for reaction in VOTES:
        token = call("POST", f"{server}/v1/visitors?site=default")["token"]
        call("PUT", f"{server}/v1/reaction?{query}", token, {"reaction": reaction})


async def person(browser: Browser, server: str, scheme: Scheme) -> Page:
    page = await browser.new_page(
        viewport={"width": 620, "height": 664}, color_scheme=scheme, device_scale_factor=SCALE
    )
    await page.goto(server)
    return page


async def picture(page: Page) -> str:
    await expect(Widget(page.locator("live-reactions").first).like).to_have_text(str(VOTES.count("like") + 1))
    return base64.b64encode(await page.screenshot()).decode()


async def demo(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder)) as server:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(vote, server.url)
        left, right = [await person(browser, server.url, scheme) for scheme in SCHEMES]
        await Widget(left.locator("live-reactions").first).like.click()
        await left.mouse.move(0, 0)
        frame = await browser.new_page(device_scale_factor=SCALE)
        await frame.set_content(FRAME % (await picture(left), await picture(right)))
        await frame.locator("main").screenshot(path=DOCS / "screenshot.png")
        for page in (left, right):  # before the server that they watch
            await page.close()


# The element in a page

GALLERY_HEAD = """
<meta name="color-scheme" content="light dark">
<script src="/embed.js" async></script>
<style>
  html { font: 15px/1.5 system-ui, sans-serif; background: light-dark(#f3f4f6, #0f1115); }
  body { margin: 0; padding: 20px; display: grid; gap: 16px;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
  section { padding: 18px 20px; border-radius: 14px; background: light-dark(#fff, #181b21);
    color: light-dark(#1d2129, #e6e8ec); border: 1px solid light-dark(#e4e6ea, #262a32); }
  h2 { margin: 0 0 2px; font-size: 16px; line-height: 1.35 }
  p { margin: 0 0 14px; color: light-dark(#5b6270, #9aa2b1); }
  .green { --tallycast-like: light-dark(#0b6e4f, #5fd3a5);
    --tallycast-dislike: light-dark(#a3342a, #ff8f85); }
</style>
"""
GALLERY = """
<section><h2>The stick that could not lie</h2>
  <p>For seven centuries England kept its accounts on split hazel.</p>
  <live-reactions item="article"></live-reactions></section>
<section><h2>A concert, streamed</h2><p>Large numbers are cut, never rounded up.</p>
  <live-reactions item="concert"></live-reactions></section>
<section class="green"><h2>A colour of one’s own</h2><p>Two custom properties, for likes and dislikes.</p>
  <live-reactions item="colour"></live-reactions></section>
<section><h2>Other reactions</h2><p>Whatever a site has, as a row of buttons.</p>
  <live-reactions item="kinds" label-love="Love it"></live-reactions></section>
"""
COUNTS = {
    "article": {"like": 128, "dislike": 9},
    "concert": {"like": 48_231, "dislike": 1_204},
    "colour": {"like": 73, "dislike": 21},
    "kinds": {"love": 412, "insightful": 96, "funny": 58, "sad": 3},
}
CLICKS = {"article": "Like", "colour": "Dislike", "kinds": "Love it"}


async def gallery(browser: Browser, scheme: Scheme, width: int) -> None:
    page = await browser.new_page(
        viewport={"width": width, "height": 400}, color_scheme=scheme, device_scale_factor=SCALE
    )
    server = ScriptedServer(page)
    await server.install()
    await host(page, ORIGIN, GALLERY, "", GALLERY_HEAD)
    await server.connection()
    seen: set[str] = set()
    while seen < COUNTS.keys():
        watch = await server.receive("watch")
        for item in watch["items"]:
            server.say("counts", item=item, version=1, counts=COUNTS[item])
        server.say("watching", ref=watch["ref"])
        seen.update(watch["items"])
        await page.mouse.wheel(0, 300)
    for item, name in CLICKS.items():
        await page.locator(f"[item={item}]").get_by_role("button", name=name, exact=True).click()
        react = await server.receive("react")
        counts = COUNTS[item] | {react["reaction"]: COUNTS[item][react["reaction"]] + 1}
        server.say("ack", ref=react["ref"], item=item, reaction=react["reaction"], version=2, counts=counts)
    await expect(page.locator("[item=kinds]").get_by_role("status")).to_have_text("Your vote: Love it.")
    await page.mouse.move(0, 0)
    await page.screenshot(path=DOCS / f"widget-{scheme}-{width}.png", full_page=True)
    await page.close()


async def main() -> None:
    async with async_playwright() as playwright, await launch(playwright) as browser:
        await demo(browser)
        for scheme in SCHEMES:
            for width in WIDTHS:
                await gallery(browser, scheme, width)


if __name__ == "__main__":
    asyncio.run(main())
