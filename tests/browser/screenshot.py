"""Makes the README's picture: two people with the demo page open, who see the same numbers.

    python tests/browser/screenshot.py URL OUT.png

Votes on the demo item of the server at URL, which should be one that nobody else uses.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Literal

from chromium import launch
from playwright.async_api import Browser, Page, async_playwright, expect

ITEM = "demo/tally-sticks"
VOTES = [*["like"] * 41, *["dislike"] * 5]
SCALE = 1.5

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


async def person(browser: Browser, server: str, scheme: Literal["light", "dark"]) -> Page:
    page = await browser.new_page(
        viewport={"width": 620, "height": 664}, color_scheme=scheme, device_scale_factor=SCALE
    )
    await page.goto(server)
    return page


async def picture(page: Page) -> str:
    await expect(page.locator("live-reactions [part=like]").first).to_have_text(str(VOTES.count("like") + 1))
    await page.locator("live-reactions").first.evaluate(
        "element => Promise.all(element.shadowRoot.getAnimations().map((animation) => animation.finished))"
    )
    return base64.b64encode(await page.screenshot()).decode()


async def main(server: str, out: Path) -> None:
    server = server.rstrip("/")
    await asyncio.to_thread(vote, server)
    async with async_playwright() as playwright, await launch(playwright) as browser:
        left = await person(browser, server, "light")
        right = await person(browser, server, "dark")
        await left.locator("live-reactions [part=like]").first.click()
        await left.mouse.move(0, 0)
        frame = await browser.new_page(device_scale_factor=SCALE)
        await frame.set_content(FRAME % (await picture(left), await picture(right)))
        await frame.locator("main").screenshot(path=out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
