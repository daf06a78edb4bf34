"""In real pages: however the script is loaded, whatever the page does, whatever else is on it."""

from __future__ import annotations

import asyncio
import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from .script import ORIGIN, ScriptedServer
from .tabs import NewTab, Server, fresh_item, host, wait_until

ROOT = Path(__file__).parents[2]
# Not one word more than a page must allow; the image is its own icon.
BARE_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self' ws:; img-src data:"


@pytest.mark.parametrize("attributes", ["", "async", "defer", 'type="module"'])
async def test_however_it_is_loaded(server: Server, new_tab: NewTab, attributes: str) -> None:
    """Once in the head, or several times, at the end of the body too."""
    script = f'<script src="/embed.js" {attributes}></script>'
    tab = await new_tab()
    for times in (1, 2):
        body = f'<live-reactions item="{fresh_item()}"></live-reactions>'
        await tab.visit(server, body + script * (times - 1), BARE_POLICY, script)
        await tab.event("tallycast:react", tab.widget.like.click)
        assert len(tab.sockets) == times


async def test_at_the_end_of_the_body(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    script = '<script src="/embed.js"></script>'
    await tab.visit(
        server, f'<live-reactions item="{fresh_item()}"></live-reactions>{script}', BARE_POLICY, ""
    )
    await tab.event("tallycast:react", tab.widget.like.click)


async def test_the_script_says_which_server_and_site(scripted: ScriptedServer) -> None:
    """On another site's page, also as a module under its immutable name."""
    page = scripted.page
    seen: list[str] = []
    await page.route_web_socket("ws://tally.test/**", lambda socket: seen.append(socket.url))
    await page.route(f"{ORIGIN}/embed.0123456789abcdef.js", scripted.embed)
    for attributes in ('src="%s/embed.js" async', 'src="%s/embed.0123456789abcdef.js" type="module"'):
        head = f'<script {attributes % ORIGIN} data-site="blog"></script>'
        await host(page, "http://publisher.test", '<live-reactions item="a"></live-reactions>', "", head)
        await wait_until(lambda: _value(len(seen)), 1)
        assert seen.pop() == "ws://tally.test/ws?site=blog"


@pytest.mark.parametrize(
    ("source", "attributes"),
    [
        ("/tally/embed.js", ""),
        ("/tally/embed.js?v=1/2#a/b", ""),
        ("/tally/embed.0123456789abcdef.js", ""),
        ("/embed.js", 'server="http://tally.test/tally/"'),
    ],
)
async def test_a_server_below_a_path(scripted: ScriptedServer, source: str, attributes: str) -> None:
    """The script takes its own folder for the server's address; the attribute may have a path, too."""
    page = scripted.page
    seen: list[str] = []
    await page.route_web_socket("ws://tally.test/**", lambda socket: seen.append(socket.url))
    await page.route(f"{ORIGIN}/tally/embed.**", scripted.embed)
    head = f'<script src="{ORIGIN}{source}" async></script>'
    body = f'<live-reactions item="a" {attributes}></live-reactions>'
    await host(page, "http://publisher.test", body, "", head)
    await wait_until(lambda: _value(len(seen)), 1)
    assert seen == ["ws://tally.test/tally/ws?site=default"]


async def _value(value: int) -> int:
    return value


def test_it_is_small_and_has_no_name_that_blockers_look_for() -> None:
    script = (ROOT / "static/embed.js").read_bytes()
    assert len(gzip.compress(script, 9)) <= 6400
    assert re.findall(rb"(?i)track|stats|counter|views|analytics|beacon|pixel", script) == []


async def test_it_can_be_imported_where_there_is_no_window() -> None:
    script = f"await import('{(ROOT / 'static/embed.js').as_uri()}'); console.log('fine');"
    node = Path(sys.executable).with_name("node")
    process = await asyncio.to_thread(
        subprocess.run,
        [node, "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.stdout.strip(), process.stderr) == ("fine", "")


async def test_elements_that_come_later_move_and_go(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    tab = await new_tab()
    sent: list[str] = []
    tab.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await tab.visit(server, "<main></main><aside></aside>")
    assert tab.sockets == [], "nothing to show, nothing to connect for"
    await tab.page.evaluate(
        """item => {
          const element = document.createElement('live-reactions');
          element.setAttribute('item', item);
          document.querySelector('main').append(element);
        }""",
        item,
    )
    await tab.event("tallycast:react", tab.widget.like.click)

    before = len(sent)
    await tab.page.evaluate(
        "document.querySelector('aside').append(document.querySelector('live-reactions'))"
    )
    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")
    await tab.page.evaluate(
        "document.querySelector('aside').append(document.querySelector('live-reactions').cloneNode(true))"
    )
    await tab.widgets(1).shows(like=1, dislike=0)
    await tab.widgets(1).holds("like")
    assert sent[before:] == [], "nothing of it reached the server"

    await tab.page.evaluate("document.querySelector('live-reactions').remove()")
    await tab.widget.like.click()
    await tab.widget.holds(None)
    await tab.page.evaluate("document.querySelector('live-reactions').remove()")
    await wait_until(lambda: _value(sum('"unwatch"' in frame for frame in sent)), 1)


async def test_a_page_that_goes_on_without_loading(server: Server, new_tab: NewTab) -> None:
    """An element without an item is the page's, and the page has another address now."""
    tab, path = await new_tab(), fresh_item()
    await tab.visit(server, "<live-reactions></live-reactions>", path=path)
    await tab.widget.shows(like=0, dislike=0)  # or what it received next would be of the page as it came

    async def go(address: str) -> str:
        push = "address => history.pushState(null, '', address)"
        shown = await tab.event("tallycast:ready", lambda: tab.page.evaluate(push, address))
        return str(shown["item"])

    assert await go(f"/{path}/one") == f"{server.url}/{path}/one"
    await tab.event("tallycast:react", tab.widget.like.click)
    assert await go(f"/{path}/two?page=1#top") == f"{server.url}/{path}/two"
    await tab.widget.shows(like=0, dislike=0)
    await tab.widget.holds(None)

    async def settle() -> None:
        await tab.page.evaluate(
            """path => {
              const link = document.createElement('link');
              link.rel = 'canonical';
              link.href = `/${path}/canonical`;
              document.head.append(link);
            }""",
            path,
        )

    assert (await tab.event("tallycast:ready", settle))["item"] == f"{server.url}/{path}/canonical"
    await tab.page.go_back()
    await tab.page.evaluate("document.querySelector('[rel=canonical]').remove()")
    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")


async def test_an_empty_canonical_address_is_none(server: Server, new_tab: NewTab) -> None:
    """A browser takes it for the page's own address, with the query."""
    tab = await new_tab()
    path = fresh_item()
    await tab.visit(server, "<p>", path=path)
    await tab.page.evaluate(
        """() => {
          history.replaceState(null, '', '?page=2#top');
          const link = document.createElement('link');
          link.rel = 'canonical';
          link.setAttribute('href', '');
          document.head.append(link);
        }"""
    )
    add = "document.body.append(document.createElement('live-reactions'))"
    shown = await tab.event("tallycast:ready", lambda: tab.page.evaluate(add))
    assert shown["item"] == f"{server.url}/{path}"


async def test_only_what_is_near_is_watched(server: Server, new_tab: NewTab) -> None:
    items = [fresh_item() for _ in range(30)]
    tab = await new_tab()
    sent: list[str] = []
    tab.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await tab.page.set_viewport_size({"width": 600, "height": 500})
    space = "<br>" * 20
    await tab.visit(
        server, "".join(f'<live-reactions item="{item}"></live-reactions>{space}' for item in items)
    )
    await tab.widgets(0).shows(like=0, dislike=0)
    watched = [item for item in items if any(f'"{item}"' in frame for frame in sent)]
    assert watched == items[: len(watched)]
    assert 1 <= len(watched) <= 3

    await tab.widgets(29).element.scroll_into_view_if_needed()
    await tab.widgets(29).shows(like=0, dislike=0)
    assert any("unwatch" in frame and f'"{items[0]}"' in frame for frame in sent)
    assert not any(f'"{items[10]}"' in frame for frame in sent), "what was passed over"

    sent.clear()
    await tab.widgets(29).element.evaluate("element => { element.hidden = true; }")
    await wait_until(lambda: _value(sum("unwatch" in f and items[29] in f for f in sent)), 1)
    await tab.widgets(0).element.scroll_into_view_if_needed()
    await wait_until(lambda: _value(sum(f'"since":{{"{items[0]}":' in f for f in sent)), 1)
    assert len(tab.sockets) == 1


async def test_counts_that_came_with_the_page(scripted: ScriptedServer) -> None:
    """Read without JavaScript, shown before the server has spoken, and replaced without anything moving."""
    page = scripted.page
    gate = asyncio.Event()

    async def late(route: Route) -> None:
        await gate.wait()
        await scripted.embed(route)

    await page.route(f"{ORIGIN}/embed.js", late)
    await page.add_init_script(
        """window.moved = 0;
        new PerformanceObserver((list) => { for (const e of list.getEntries()) moved += e.value; })
          .observe({ type: 'layout-shift', buffered: true });"""
    )
    style = (
        "<style>live-reactions { min-height: 3.3rem; vertical-align: top } "
        "live-reactions:not(:defined) { display: inline-flex; align-items: center; gap: 1em }</style>"
    )
    given = (
        '<data data-kind="like" value="1204">1,204 likes</data> '
        '<data data-kind="dislike" value="31">31 dislikes</data>'
    )
    element = f'<live-reactions item="a" format="full">{given}</live-reactions>'
    body = f'<p>{element}</p><p id="below">What follows.</p>'
    goto = asyncio.create_task(
        host(page, ORIGIN, body, "", style + '<script src="/embed.js" async></script>')
    )
    await expect(page.get_by_text("1,204 likes")).to_be_visible()
    before = await page.locator("#below").bounding_box()
    gate.set()
    await goto

    like = page.get_by_role("button", name="Like", exact=True)
    await expect(like).to_have_text("1,204")
    await expect(page.get_by_text("1,204 likes")).to_be_hidden()
    assert await page.locator("#below").bounding_box() == before
    await scripted.connection()
    watch = await scripted.receive("watch")
    assert not watch.get("since"), "they have no version"
    seen = await page.evaluate_handle(
        """() => {
          const seen = [];
          const { shadowRoot } = document.querySelector('live-reactions');
          new MutationObserver(() => seen.push(shadowRoot.textContent))
            .observe(shadowRoot, { subtree: true, childList: true, characterData: true });
          return seen;
        }"""
    )
    scripted.counts("a", 5, like=1205, dislike=31)
    await expect(like).to_have_text("1,205")
    assert all("1,20" in text for text in await seen.json_value()), "never empty in between"
    assert await page.locator("#below").bounding_box() == before
    assert await page.evaluate("moved") == 0


async def test_a_click_on_them_counts_at_once(scripted: ScriptedServer) -> None:
    page = scripted.page
    given = '<data data-kind="like" value="7">7</data><data data-kind="dislike" value="0">0</data>'
    await host(page, ORIGIN, f'<live-reactions item="a">{given}</live-reactions>')
    like = page.get_by_role("button", name="Like", exact=True)
    await like.click()
    await expect(like).to_have_text("8")


async def test_it_leaves_the_page_alone(server: Server, new_tab: NewTab) -> None:
    """Its own global and its own keys, nothing else; and rough style sheets do not reach it."""
    tab = await new_tab()
    await tab.visit(
        server,
        f'<live-reactions item="{fresh_item()}"></live-reactions>',
        "",
        "<style>* { box-sizing: border-box } button { display: none !important } "
        "section, div, span, svg { display: block !important; color: red !important }</style>"
        '<script src="/embed.js" async></script>',
    )
    await tab.event("tallycast:react", tab.widget.like.click)
    assert await tab.page.evaluate("Object.keys(localStorage).every((key) => key.startsWith('tallycast:'))")
    boxes = [await button.bounding_box() for button in (tab.widget.like, tab.widget.dislike)]
    assert all(boxes)
    assert boxes[0]["y"] == boxes[1]["y"]  # type: ignore[index]


@pytest.mark.parametrize("address", ["https://[", "nonsense:"])
async def test_a_server_address_that_is_none_is_reported_and_not_tried_again(
    server: Server, new_tab: NewTab, address: str
) -> None:
    tab = await new_tab()
    tab.tolerant = True  # the console has the reason: see tests/browsers/test_origins.py
    await tab.page.clock.install()
    await tab.page.add_init_script(
        """window.reported = [];
        for (const name of ['error', 'status']) document.addEventListener('tallycast:' + name,
          ({ detail }) => reported.push(detail.code ? [detail.code, detail.message] : detail.status));"""
    )
    await tab.visit(server, f'<live-reactions item="a" server="{address}"></live-reactions>')
    await wait_until(lambda: tab.page.evaluate("reported.length"), 3)
    await tab.page.clock.run_for(600_000)
    first, closed, (code, message) = await tab.page.evaluate("reported")
    assert (first, closed, code) == ("connecting", "closed", "forbidden")
    assert "Failed to construct 'WebSocket'" in message
    await tab.widget.like.click()
    await expect(tab.widget.status).to_have_text("Not open to votes.")
    await tab.widget.holds(None)


async def test_a_server_address_that_is_none_does_no_harm(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    tab.tolerant = True
    errors: list[str] = []
    tab.page.on("pageerror", lambda error: errors.append(str(error)))
    await tab.visit(
        server,
        '<live-reactions item="x" server="nonsense:"></live-reactions>'
        f'<live-reactions item="{fresh_item()}"></live-reactions>',
    )
    await tab.widgets(1).shows(like=0, dislike=0)
    await tab.widgets(0).like.click()
    await tab.event("tallycast:react", tab.widgets(1).like.click)
    assert errors == []


async def test_two_pages_agree_after_two_hundred_clicks(server: Server, new_tab: NewTab) -> None:
    items = [fresh_item() for _ in range(5)]
    body = "".join(f'<live-reactions item="{item}"></live-reactions>' for item in items)
    tabs = [await new_tab() for _ in range(2)]
    for tab in tabs:
        await tab.visit(server, body)
        for index in range(5):
            await tab.widgets(index).shows(like=0, dislike=0)

    clicks = """async seed => {
      const buttons = [...document.querySelectorAll('live-reactions')]
        .flatMap(({ shadowRoot }) => [...shadowRoot.querySelectorAll('button')]);
      for (let n = 0; n < 100; n++) {
        seed = (seed * 48271) % 2147483647;
        buttons[seed % buttons.length].click();
        await new Promise((next) => setTimeout(next, seed % 20));
      }
    }"""
    await asyncio.gather(*(tab.page.evaluate(clicks, 4711 + n) for n, tab in enumerate(tabs)))

    read = """() => [...document.querySelectorAll('live-reactions')].map(({ shadowRoot }) =>
      [...shadowRoot.querySelectorAll('button')].map((button) => [button.textContent, button.ariaPressed]))"""

    async def sums() -> list[bool]:
        shown = [await tab.page.evaluate(read) for tab in tabs]
        held = [
            [sum(page[item][kind][1] == "true" for page in shown) for kind in range(2)] for item in range(5)
        ]
        return [[[int(count) for count, _ in item] for item in page] == held for page in shown]

    await wait_until(sums, [True, True])
