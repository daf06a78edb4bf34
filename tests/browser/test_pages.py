"""The wall and the display: what they show, in every size and theme, and how they move."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import MakeServer

from .tabs import NewTab, Server, Tab, fresh_item, looks

SIZES = [(280, 560), (900, 700), (1920, 1080)]


async def vote(server: Server, item: str, reaction: str, people: int = 1) -> None:
    """So many people react to an item."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        for _ in range(people):
            token = (await http.post("/v1/visitors")).json()["token"]
            headers = {"Authorization": f"Bearer {token}"}
            put = http.put(
                "/v1/reaction", params={"item": item}, json={"reaction": reaction}, headers=headers
            )
            assert (await put).status_code == 200


async def fits(page: Page, width: int) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth") == width


# The wall


async def test_sixty_items_share_one_connection(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(f"{server.url}/demo/wall")
    widgets = tab.page.locator("live-reactions")
    await expect(widgets).to_have_count(60)
    assert len(set(await widgets.evaluate_all("all => all.map(one => one.getAttribute('item'))"))) == 60
    for index in range(60):
        await widgets.nth(index).scroll_into_view_if_needed()
        await expect(tab.widgets(index).like).to_have_text(re.compile(r"\d"))
    await expect(tab.page.locator("#link")).to_have_text("Live")
    await expect(tab.page.locator("#of")).to_contain_text("60 things")
    assert len(tab.sockets) == 1


async def test_a_vote_elsewhere_shows_in_its_cell_and_in_the_sum(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(f"{server.url}/demo/wall")
    await expect(tab.widgets(0).like).to_have_text(re.compile(r"\d"))
    item = await tab.page.locator("live-reactions").first.get_attribute("item")
    assert item is not None
    likes = int(await tab.widgets(0).like.inner_text())
    cell = tab.page.locator(".wall li").first
    warmed = await cell.evaluate_handle(
        "cell => ({ next: new Promise(tell => cell.addEventListener('animationend', tell, { once: true })) })"
    )

    await vote(server, item, "like")

    await expect(tab.widgets(0).like).to_have_text(str(likes + 1))
    await warmed.evaluate("warmed => warmed.next.then(() => true)")
    await expect(cell).not_to_have_class("touched")
    shown = await tab.page.locator(".wall live-reactions").evaluate_all(
        "all => all.flatMap(one => [...one.shadowRoot.querySelectorAll('[part~=count]')])"
        ".map(count => Number(count.textContent)).reduce((a, b) => a + b, 0)"
    )
    await expect(tab.page.locator("#votes")).to_have_text(f"{shown:,}")


async def test_the_wall_fits(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.goto(f"{server.url}/demo/wall")
    await expect(tab.widget.like).to_have_text(re.compile(r"\d"))
    async for width, _, _ in looks(tab.page, SIZES):
        await fits(tab.page, width)
        columns = await tab.page.evaluate(
            "getComputedStyle(document.querySelector('.wall')).gridTemplateColumns.split(' ').length"
        )
        assert 60 % columns == 0, "the last row is full"
        assert columns == {280: 1, 900: 3, 1920: 5}[width]


# The display


class Display:
    """The page at /live, as somebody in the last row sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open(self, server: Server, **query: str) -> None:
        await self.page.goto(f"{server.url}/live?{urlencode(query)}")

    async def shows(self, **counts: int) -> None:
        """Wait until the wheels stand at these numbers, and say so to a screen reader."""
        for kind, count in counts.items():
            side = self.page.locator(f'.side[data-kind="{kind}"]')
            await expect(side.locator(".exact")).to_have_text(f"{count:,}")
            await self.page.wait_for_function(
                """([kind, text]) => {
                  const wheels = [...document.querySelectorAll(`.side[data-kind="${kind}"] .wheels > *`)];
                  const standing = wheels.every(({ className, children: [upper] }) =>
                    className !== 'wheel' || /^0(px)?( 0(px|lh)?)?$/.test(upper.style.translate));
                  return standing && wheels.map((w) => (w.children[0] ?? w).textContent).join('') === text;
                }""",
                arg=[kind, f"{count:,}"],
            )


async def test_the_display_follows_its_item(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    await vote(server, item, "like", 9)
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=item, title="Tea & <b>biscuits</b>")
    await expect(tab.page.locator("h1")).to_have_text("Tea & <b>biscuits</b>")
    await display.shows(like=9, dislike=0)
    await expect(tab.page.locator("#share")).to_have_text("9 votes · 100% like it")

    await vote(server, item, "like", 3)
    await vote(server, item, "dislike", 2)

    await display.shows(like=12, dislike=2)
    await expect(tab.page.locator("#share")).to_have_text("14 votes · 85% like it")
    assert await tab.page.evaluate(
        "getComputedStyle(document.querySelector('#bar')).getPropertyValue('--share')"
    ) == (f"{12 / 14!r}")
    await expect(tab.page.locator(".more")).to_have_count(0)
    assert len(tab.sockets) == 1


async def test_what_came_rises_beside_the_label_once(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=item)
    await display.shows(like=0)
    risen = await tab.page.evaluate_handle(
        """() => {
          const seen = [];
          new MutationObserver((changes) => {
            const added = changes.flatMap(({ addedNodes }) => [...addedNodes]);
            const marks = added.filter(({ className }) => className === 'more');
            seen.push(...marks.map((mark) => Number(mark.textContent)));
          }).observe(document.querySelector('[data-kind=like] h2'), { childList: true });
          return seen;
        }"""
    )

    await vote(server, item, "like", 20)

    await display.shows(like=20)
    await expect(tab.page.locator(".more")).to_have_count(0)
    marks = await risen.json_value()
    assert sum(marks) == 20
    assert len(marks) < 20, "never two at a time, so several votes go together"


async def test_numbers_move_smoothly(server: Server, new_tab: NewTab) -> None:
    """They pass through places between two digits, and never go back."""
    item = fresh_item()
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=item)
    await display.shows(like=0)
    values = await tab.page.evaluate_handle(
        """() => {
          const seen = [];
          new MutationObserver(() => {
            const [upper] = document.querySelector('[data-kind=like] .wheel:last-child').children;
            const passed = Number(/(-?[\\d.e-]+)lh$/.exec(upper.style.translate)?.[1] ?? 0);
            seen.push(Number(upper.textContent) - passed);
          }).observe(document.querySelector('[data-kind=like]'), { attributes: true, subtree: true });
          return seen;
        }"""
    )
    await vote(server, item, "like", 6)
    await display.shows(like=6)
    seen = await values.json_value()
    assert seen == sorted(seen)
    assert seen[-1] == 6
    assert any(value % 1 for value in seen)


async def test_who_wants_no_motion_has_none(server: Server, browser: Browser) -> None:
    item = fresh_item()
    async with await browser.new_context(reduced_motion="reduce") as context:
        tab = Tab(await context.new_page())
        display = Display(tab.page)
        await display.open(server, item=item)
        await display.shows(like=0)
        places = await tab.page.evaluate_handle(
            """() => {
              const seen = new Set();
              new MutationObserver(() => {
                const uppers = document.querySelectorAll('.wheel > :first-child');
                for (const { style } of uppers) seen.add(style.translate);
              }).observe(document.querySelector('#sides'), {
                attributes: true, childList: true, subtree: true,
              });
              return seen;
            }"""
        )
        await vote(server, item, "like", 5)
        await display.shows(like=5)
        seen = await places.evaluate("seen => [...seen]")
        assert seen
        assert all(float(place.split()[-1].removesuffix("lh").removesuffix("px")) == 0 for place in seen), (
            seen
        )
        await expect(tab.page.locator(".more")).to_have_count(0)
        assert tab.complaints == []


async def test_a_fast_room_is_followed_to_the_last_vote(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=item)
    await display.shows(like=0)
    await asyncio.gather(
        *(vote(server, item, "like", 13) for _ in range(4)), vote(server, item, "dislike", 11)
    )
    await display.shows(like=52, dislike=11)


async def test_large_numbers_and_other_kinds_fit(server: Server, new_tab: NewTab) -> None:
    """A site may have other reactions than these, and more people than this test."""
    tab = await new_tab()
    display = Display(tab.page)
    await tab.page.set_viewport_size({"width": 900, "height": 600})
    await tab.page.emulate_media(reduced_motion="reduce")  # the wheels would turn for seconds
    await display.open(server, item=fresh_item(), title="A title that goes on and on " * 10)
    await display.shows(like=0, dislike=0)
    await tab.page.evaluate(
        """() => document.dispatchEvent(new CustomEvent('tallycast:change', {
          detail: { item: 'x', counts: { like: 12345678, dislike: 99999, heart: 7 }, reaction: null },
        }))"""
    )
    await display.shows(like=12345678, dislike=99999, heart=7)
    await fits(tab.page, 900)
    inside = await tab.page.evaluate(
        """() => [...document.querySelectorAll('.side')].every((side) => {
          const outer = side.getBoundingClientRect();
          const inner = side.querySelector('.wheels').getBoundingClientRect();
          return inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top
            && inner.bottom <= outer.bottom;
        })"""
    )
    assert inside


async def test_kinds_of_any_name_in_the_order_of_the_site(
    make_server: MakeServer, new_tab: NewTab, tmp_path: Path
) -> None:
    """Keys that are numbers come first in any object of JavaScript, and some names all objects have."""
    file = tmp_path / "tallycast.toml"
    names = ["5", "like", "4", "number", "valueOf", "__proto__"]
    file.write_text(f'[sites.default]\norigins = ["*"]\nkinds = {json.dumps(names)}\n')
    server = make_server(flags=["--config", str(file), "--demo"])
    tab = await new_tab()
    await Display(tab.page).open(server, item=fresh_item())
    sides = tab.page.locator(".side")
    await expect(sides).to_have_count(len(names))
    kinds = "all => all.map(one => one.dataset.kind)"
    assert await sides.evaluate_all(kinds) == names
    await tab.page.evaluate(
        """() => document.dispatchEvent(new CustomEvent('tallycast:change', { detail: { item: 'x',
          counts: JSON.parse('{"constructor":2,"__proto__":3,"toString":4}'), reaction: null } }))"""
    )
    assert await sides.evaluate_all(kinds) == [*names, "constructor", "toString"]
    await expect(tab.page.locator("#share")).to_have_text("9 votes")


async def test_the_display_fits(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server)
    await expect(tab.page.locator(".side")).to_have_count(2)
    async for width, height, _ in looks(tab.page, SIZES):
        await fits(tab.page, width)
        assert await tab.page.evaluate("document.documentElement.scrollHeight") == height
        boxes = [
            await tab.page.locator(f".side[data-kind={kind}]").bounding_box() for kind in ("like", "dislike")
        ]
        assert all(
            box is not None and box["height"] > height / 5 and box["width"] > width / 3 for box in boxes
        )


async def test_over_a_video_there_is_nothing_behind_the_numbers(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=fresh_item(), background="transparent", theme="dark")
    await display.shows(like=0)
    for element in ("html", "body", "main", ".side"):
        colour = await tab.page.locator(element).first.evaluate(
            "element => getComputedStyle(element).backgroundColor"
        )
        assert colour == "rgba(0, 0, 0, 0)", element
    assert await tab.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    await expect(tab.page.locator(".foot .name")).to_be_hidden()


async def test_nothing_on_the_display_can_be_pressed(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    tab = await new_tab()
    display = Display(tab.page)
    await display.open(server, item=item)
    await display.shows(like=0)
    await tab.page.keyboard.press("Tab")
    assert await tab.page.evaluate("document.activeElement.className") == "name", (
        "the link home is the only one"
    )
    await expect(tab.widget.element).to_have_attribute("readonly", "")
    await expect(tab.page.get_by_role("button")).to_have_count(0)


async def test_the_site_is_handed_on(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    tab.tolerant = True  # the browser reports the closed socket
    display = Display(tab.page)
    await display.open(server, item=fresh_item(), site="nobody")
    await expect(tab.page.locator("#link")).to_have_text("Not connected")
    assert "site=nobody" in tab.sockets[0]


@pytest.mark.parametrize("path", ["/", "/demo/wall"])
async def test_the_pages_lead_to_each_other(server: Server, new_tab: NewTab, path: str) -> None:
    tab = await new_tab()
    await tab.page.goto(f"{server.url}{path}")
    links = tab.page.get_by_role("navigation", name="Demo").get_by_role("link")
    # Relative ones, because the server may be below a path.
    leads = await links.evaluate_all("all => all.map(link => link.href)")
    assert leads == [f"{server.url}{at}" for at in ("/", "/demo/wall", "/live")]
    current = tab.page.locator("[aria-current=page]")
    assert await current.evaluate("link => link.href") == f"{server.url}{path}"
