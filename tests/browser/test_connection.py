"""The life of the connection, by the page's own clock: when it dials, when it gives up, when it lets go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Page, WebSocketRoute, async_playwright, expect

from tests.conftest import MakeServer

from .chromium import launch
from .script import ORIGIN, ScriptedServer
from .tabs import PATIENCE, NewTab, Server, Tab, Widget, fresh_item, host, wait_until

# Notes when the page opens and closes sockets, by its own clock.
LOG = """
  window.dialled = [];
  window.ended = 0;
  const Native = WebSocket;
  window.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      window.dialled.push(Date.now());
      this.addEventListener('close', () => window.ended++);
    }
  };
"""


async def still(scripted: ScriptedServer, random: float | None = None) -> Widget:
    """A page whose clock only moves when told to."""
    page = scripted.page
    await page.add_init_script(LOG + (f"Math.random = () => {random};" if random is not None else ""))
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_020)
    await scripted.beat()
    return widget


async def dialled(page: Page) -> int:
    count: int = await page.evaluate("dialled.length")
    return count


async def advance(page: Page, seconds: float) -> None:
    await page.clock.run_for(round(seconds * 1000))


@pytest.mark.parametrize(
    ("random", "pauses"),
    [
        (0.0, [0.5, 0.5, 0.5]),
        (0.5, [0.75, 1.0, 1.5, 2.5, 4.5, 8.5, 16.5, 20.0, 20.0]),
        (0.999, [0.999, 1.499, 2.498, 4.496, 8.492, 16.484, 20.0]),
    ],
)
async def test_backoff(scripted: ScriptedServer, random: float, pauses: list[float]) -> None:
    """min(20 s, 0.5 s + random(0, 0.5·2ⁿ)), from n = 0."""
    widget = await still(scripted, random)
    page = scripted.page
    await advance(page, 6)  # steady: the next pause is the first
    for pause in pauses:
        before = await dialled(page)
        await scripted.close(1011)
        await widget.is_stale(True)
        await advance(page, pause - 0.002)
        assert await dialled(page) == before, pause
        await advance(page, 0.004)
        assert await dialled(page) == before + 1, pause
        await scripted.connection()
        scripted.say("beat")
        await widget.is_stale(False)


async def test_a_steady_connection_ends_the_backoff(scripted: ScriptedServer) -> None:
    widget = await still(scripted, 0.5)
    page = scripted.page
    for up, pause in ((6, 0.75), (4.9, 1.0), (4.9, 1.5), (5.1, 0.75)):
        await advance(page, up)
        before = await dialled(page)
        await scripted.close(1011)
        await widget.is_stale(True)
        await advance(page, pause - 0.002)
        assert await dialled(page) == before
        await advance(page, 0.004)
        assert await dialled(page) == before + 1
        await scripted.connection()
        scripted.say("beat")
        await widget.is_stale(False)


async def test_a_handshake_that_does_not_end_is_given_up(page: Page) -> None:
    """A listener takes the connection and says nothing."""
    connections = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.read(4096):
            pass
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        await ScriptedServer(page).install()
        await page.clock.install()
        await page.add_init_script(LOG)
        await host(
            page, ORIGIN, f'<live-reactions item="a" server="http://127.0.0.1:{port}"></live-reactions>'
        )
        await wait_until(lambda: dialled(page), 1)
        await wait_until(lambda: _value(connections >= 1), True)
        await page.clock.run_for(3_000)
        assert await dialled(page) == 1
        await page.clock.run_for(2_500)  # 4 s, and the first pause of at most one
        await wait_until(lambda: dialled(page), 2)


async def _value(value: bool) -> bool:
    return value


async def test_a_page_nobody_sees_lets_go_after_a_minute(scripted: ScriptedServer) -> None:
    widget = await still(scripted)
    page = scripted.page
    await show(page, False)
    for _ in range(3):
        await advance(page, 19.5)
        await scripted.beat()
    before = await dialled(page)
    await widget.is_stale(False)

    await advance(page, 2)
    await widget.is_stale(True)
    await advance(page, 100)
    assert await dialled(page) == before

    await show(page, True)
    await scripted.connection()
    assert (await scripted.receive("watch"))["items"] == ["a"]


async def test_a_glance_elsewhere_changes_nothing(scripted: ScriptedServer) -> None:
    widget = await still(scripted)
    page = scripted.page
    await show(page, False)
    await advance(page, 20)
    await show(page, True)
    for _ in range(4):
        await scripted.beat()
        await advance(page, 20)
    await widget.is_stale(False)


async def test_a_page_that_is_shown_again_does_not_wait_for_the_backoff(scripted: ScriptedServer) -> None:
    widget = await still(scripted, 0.999)
    page = scripted.page
    for event in ("online", "visible"):
        await scripted.close(1011)
        await widget.is_stale(True)
        before = await dialled(page)
        if event == "online":
            await page.evaluate("dispatchEvent(new Event('online'))")
        else:
            await show(page, True)
        assert await dialled(page) == before + 1
        await scripted.connection()
        scripted.say("beat")
        await widget.is_stale(False)


async def test_bye_is_heeded_even_then(scripted: ScriptedServer) -> None:
    widget = await still(scripted)
    page = scripted.page
    scripted.say("bye", retry_after=9)
    await scripted.close(1012)
    await widget.is_stale(True)
    before = await dialled(page)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await advance(page, 8.9)
    assert await dialled(page) == before
    await advance(page, 0.2)
    assert await dialled(page) == before + 1


@pytest.mark.parametrize(("asked", "waited"), [(10_000_000, 300), (86_400, 300), (0.01, 1)])
async def test_no_page_is_sent_away_for_days_nor_comes_in_haste(
    scripted: ScriptedServer, asked: float, waited: float
) -> None:
    """A browser's timer takes more than 24 days for none at all."""
    widget = await still(scripted, 0.5)
    page = scripted.page
    scripted.say("bye", retry_after=asked)
    await scripted.close(1012)
    await widget.is_stale(True)
    before = await dialled(page)
    await advance(page, waited - 0.1)
    assert await dialled(page) == before
    await advance(page, 0.2)
    assert await dialled(page) == before + 1


async def test_an_overloaded_server_is_left_alone_for_longer_each_time(scripted: ScriptedServer) -> None:
    """That it said so by a WebSocket shows that those get through: the other ways would add to its load."""
    widget = await still(scripted, 0.5)
    page = scripted.page
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await advance(page, 6)
    for closed, pause in enumerate((0.75, 1.0, 1.5, 2.5, 4.5, 8.5), 1):
        before = await dialled(page)
        await scripted.close(4003)
        await wait_until(lambda: page.evaluate("window.ended"), closed)
        await advance(page, pause - 0.002)
        assert await dialled(page) == before, pause
        await advance(page, 0.004)
        assert await dialled(page) == before + 1, pause
        await scripted.connection()
    assert requests == []
    scripted.say("beat")
    await widget.is_stale(False)


async def test_a_page_that_finds_the_server_full_comes_in_when_there_is_room(
    make_server: MakeServer, new_tab: NewTab
) -> None:
    """A real one, that has room for one."""
    server = make_server(flags=["--connections", "1"])
    first, second = await new_tab(), await new_tab()
    body = f'<live-reactions item="{fresh_item()}"></live-reactions>'
    await first.visit(server, body)
    await first.widget.shows(like=0, dislike=0)
    asked: list[str] = []
    second.page.on("request", lambda request: asked.append(request.url))
    await second.visit(server, body)
    await wait_until(lambda: _value(len(second.sockets) >= 4), True)  # so many were closed before
    await first.page.close()
    await second.widget.is_stale(False)
    await second.widget.shows(like=0, dislike=0)
    assert not [url for url in asked if "/v1/" in url]


@pytest.mark.parametrize("code", [4003, 1012, None])
async def test_codes_that_mean_try_again(scripted: ScriptedServer, code: int | None) -> None:
    widget = await still(scripted)
    await scripted.close(code)
    await widget.is_stale(True)
    await advance(scripted.page, 1.1)
    await scripted.connection()


@pytest.mark.parametrize("code", [4500, 4504, 4999])
async def test_codes_that_mean_never_again(scripted: ScriptedServer, code: int) -> None:
    widget = await still(scripted)
    page = scripted.page
    received = await page.evaluate_handle(
        """() => ({
          next: new Promise((tell) => document.addEventListener('tallycast:error', (e) => tell(e.detail))),
        })"""
    )
    before = await dialled(page)
    await scripted.close(code)
    await widget.is_stale(True)
    assert str(code) in (await received.evaluate("received => received.next"))["message"]
    await advance(page, 900)
    for nudge in ("online", "pageshow"):
        await page.evaluate("name => dispatchEvent(new Event(name))", nudge)
    assert await dialled(page) == before


async def test_leaving_the_page_closes_and_coming_back_reopens(scripted: ScriptedServer) -> None:
    """What the back/forward cache needs: an open socket may keep a page out of it."""
    closed: asyncio.Queue[Any] = asyncio.Queue()
    widget = await still(scripted)
    page = scripted.page
    assert scripted.socket is not None
    scripted.socket.on_close(lambda code, reason: closed.put_nowait(code))
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    await asyncio.wait_for(closed.get(), PATIENCE)
    before = await dialled(page)
    await advance(page, 60)
    assert await dialled(page) == before, "it rests"
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await scripted.connection()
    watch = await scripted.receive("watch")
    assert watch["since"] == {"a": 0}
    scripted.say("watching", ref=watch["ref"])
    await widget.is_stale(False)


async def test_a_page_from_the_back_forward_cache_is_live_again(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    bob = await new_tab()
    await bob.visit(server, f'<live-reactions item="{item}"></live-reactions>')
    async with async_playwright() as playwright, await launch(playwright, keeps_pages=True) as browser:
        ann = Tab(await browser.new_page())
        await ann.visit(server, f'<live-reactions item="{item}"></live-reactions>')
        await ann.widget.shows(like=0, dislike=0)
        await ann.page.evaluate(
            "addEventListener('pageshow', ({ persisted }) => { document.title = `kept: ${persisted}`; })"
        )
        await ann.page.goto(f"{server.url}/livez")
        await bob.event("tallycast:react", bob.widget.like.click)

        await ann.page.evaluate("history.back()")

        await expect(ann.page).to_have_title("kept: true")
        await ann.widget.shows(like=1, dislike=0)
        await ann.event("tallycast:react", ann.widget.like.click)
        await bob.widget.shows(like=2, dislike=0)


async def test_the_network_is_taken_away_and_given_back(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    ann, bob = await new_tab(), await new_tab()
    ann.tolerant = True
    for tab in (ann, bob):
        await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>')
        await tab.widget.shows(like=0, dislike=0)
    await ann.event("tallycast:react", ann.widget.like.click)

    await ann.page.context.set_offline(True)
    await ann.widget.is_stale(True)
    await ann.widget.dislike.click()
    await expect(ann.widget.status).to_contain_text("Offline")
    await ann.widget.shows(like=0, dislike=1)
    await bob.widget.shows(like=1, dislike=0)
    await bob.event("tallycast:react", bob.widget.like.click)
    await ann.page.context.set_offline(False)

    await bob.widget.shows(like=1, dislike=1)
    await ann.widget.shows(like=1, dislike=1)
    await ann.widget.is_stale(False)


async def show(page: Page, visible: bool) -> None:
    """Playwright keeps every page visible; this says otherwise."""
    await page.evaluate(
        """visible => {
          Object.defineProperty(document, 'hidden', { value: !visible, configurable: true });
          document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
        }""",
        visible,
    )


async def test_the_page_gets_every_status(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.add_init_script(
        """window.reported = [];
        document.addEventListener('tallycast:status', ({ detail }) => reported.push(detail.status));"""
    )
    widget = await scripted.open()
    await scripted.close(1011)
    await widget.is_stale(True)
    await scripted.connection()
    scripted.say("beat")
    await widget.is_stale(False)
    await scripted.close(4503)
    await widget.is_stale(True)
    assert await page.evaluate("reported") == ["connecting", "live", "reconnecting", "live", "closed"]


async def test_elements_of_two_servers_and_sites_have_a_connection_each(scripted: ScriptedServer) -> None:
    page = scripted.page
    sockets: list[str] = []

    async def opened(socket: WebSocketRoute) -> None:
        sockets.append(socket.url)

    await page.route_web_socket("ws://other.test/**", opened)
    await page.route_web_socket("ws://tally.test/**", opened)
    elements = "".join(
        f'<live-reactions item="{item}" {where}></live-reactions>'
        for item in "ab"
        for where in ("", 'site="blog"', 'server="http://other.test"', 'server="http://other.test/"')
    )
    await host(page, ORIGIN, elements)
    await wait_until(lambda: _value(len(sockets) >= 3), True)
    assert sorted(sockets) == [
        "ws://other.test/ws?site=default",
        "ws://tally.test/ws?site=blog",
        "ws://tally.test/ws?site=default",
    ]
    assert json.loads(await page.evaluate("JSON.stringify(localStorage)")) == {}
