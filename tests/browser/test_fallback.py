"""Where WebSockets do not get through: a real server's event stream, then polling, and back after a while."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Route, WebSocketRoute, expect

from .tabs import NewPerson, NewTab, Server, Tab, fresh_item, wait_until

SOCKET = re.compile(r"^ws://.*/ws")
STREAM = re.compile(r"/v1/stream")
ITEMS = re.compile(r"/v1/items")

TOO_FAST = {
    "status": 429,
    "headers": {"Retry-After": "60"},
    "json": {"code": "rate_limited", "detail": "slow down"},
}
AWAY = {"status": 503, "headers": {"Retry-After": "60"}, "body": "<h1>Back in a minute</h1>"}
OTHER = {"status": 503, "headers": {"Retry-After": "60"}, "json": {"code": 4504}}


class Wall:
    """What stands between a person and the server."""

    def __init__(self) -> None:
        self.sockets = True
        self.streams = False
        self.polls: dict[str, Any] | None = None
        self.tried = 0
        self.polled = 0

    async def stand(self, person: BrowserContext) -> None:
        await person.route_web_socket(SOCKET, self._socket)
        await person.route(STREAM, self._stream)
        await person.route(ITEMS, self._poll)

    async def _socket(self, route: WebSocketRoute) -> None:
        self.tried += 1
        if self.sockets:
            await route.close()
        else:
            route.connect_to_server()

    async def _stream(self, route: Route) -> None:
        await (route.abort() if self.streams else route.continue_())

    async def _poll(self, route: Route) -> None:
        self.polled += 1
        await (route.continue_() if self.polls is None else route.fulfill(**self.polls))


@pytest.fixture
def wall() -> Wall:
    return Wall()


async def behind(wall: Wall, new_person: NewPerson, new_tab: NewTab, server: Server, *items: str) -> Tab:
    person = await new_person()
    await person.add_init_script(WATCH)
    await wall.stand(person)
    tab = await new_tab(person)
    tab.tolerant = True
    await tab.page.clock.install()
    await tab.visit(server, "".join(f'<live-reactions item="{item}"></live-reactions>' for item in items))
    return tab


async def status(tab: Tab) -> str:
    """The status that was reported to the page last."""
    reply: str = await tab.page.evaluate("window.reported")
    return reply


WATCH = "document.addEventListener('tallycast:status', ({ detail }) => { window.reported = detail.status; });"


@pytest.mark.parametrize("streams", [False, True], ids=["stream", "polling"])
async def test_it_still_works(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall, streams: bool
) -> None:
    wall.streams = streams
    item = fresh_item()
    bob = await new_tab()
    await bob.visit(server, f'<live-reactions item="{item}"></live-reactions>')
    await bob.widget.shows(like=0, dislike=0)
    person = await new_person()
    await person.add_init_script(WATCH)
    await wall.stand(person)
    ann = await new_tab(person)
    ann.tolerant = True
    await ann.page.clock.install()
    await ann.visit(server, f'<live-reactions item="{item}"></live-reactions>')

    await ann.page.clock.run_for(2_000)
    await ann.widget.shows(like=0, dislike=0)
    await wait_until(lambda: status(ann), "polling" if streams else "live")
    assert wall.tried == 2

    await ann.event("tallycast:react", ann.widget.like.click)
    await bob.widget.shows(like=1, dislike=0)
    await bob.event("tallycast:react", bob.widget.dislike.click)
    if streams:
        await ann.page.clock.run_for(15_000)
    await ann.widget.shows(like=1, dislike=1)
    await ann.event("tallycast:react", ann.widget.like.click)
    await bob.widget.shows(like=0, dislike=1)
    await ann.widget.like.click()
    await ann.page.reload()
    await ann.page.clock.run_for(2_000)
    await ann.widget.holds("like")


async def test_elements_that_come_and_go(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall
) -> None:
    first, second = fresh_item(), fresh_item()
    tab = await behind(wall, new_person, new_tab, server, first)
    await tab.page.clock.run_for(2_000)
    await tab.widget.shows(like=0, dislike=0)
    await tab.page.evaluate(
        """item => {
          const late = document.createElement('live-reactions');
          late.setAttribute('item', item);
          document.body.append(late);
        }""",
        second,
    )
    await tab.widgets(1).shows(like=0, dislike=0)
    await tab.event("tallycast:react", tab.widgets(1).like.click)
    await tab.page.evaluate("document.querySelector('live-reactions').remove()")
    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")


@pytest.mark.parametrize("streams", [False, True], ids=["stream", "polling"])
async def test_one_bad_item_does_not_cost_the_others_theirs(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall, streams: bool
) -> None:
    """A stream that is asked for it is refused as a whole, and so is a poll; then the others are polled."""
    wall.streams = streams
    good, late = fresh_item(), fresh_item()
    tab = await behind(wall, new_person, new_tab, server, "bad\x01item", good)
    bob = await new_tab()
    await bob.visit(server, f'<live-reactions item="{good}"></live-reactions>')

    async def polling() -> str:
        await tab.page.clock.run_for(1_000)
        return await status(tab)

    await wait_until(polling, "polling")
    await tab.widgets(1).shows(like=0, dislike=0)
    await bob.event("tallycast:react", bob.widget.like.click)
    await tab.page.clock.run_for(15_000)
    await tab.widgets(1).shows(like=1, dislike=0)
    await tab.event("tallycast:react", tab.widgets(1).like.click)

    await tab.page.evaluate(
        """(items) => {
          for (const item of items) {
            const element = document.createElement('live-reactions');
            element.setAttribute('item', item);
            document.body.append(element);
          }
        }""",
        ["bad\x02item", late],
    )
    await tab.widgets(3).shows(like=0, dislike=0)
    await bob.event("tallycast:react", bob.widget.dislike.click)
    await tab.page.clock.run_for(15_000)
    await tab.widgets(1).shows(like=1, dislike=1)
    assert await status(tab) == "polling"


async def test_an_element_that_comes_back_is_shown(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall
) -> None:
    """By the stream that is still open; to somebody who has not voted yet, and so has no token."""
    tab = await behind(wall, new_person, new_tab, server, fresh_item())
    await tab.page.clock.run_for(2_000)
    await tab.widget.shows(like=0, dislike=0)
    await tab.page.evaluate(
        """() => {
          window.element = document.querySelector('live-reactions');
          element.remove();
        }"""
    )
    await tab.page.clock.run_for(1_000)
    await tab.page.evaluate("document.body.append(element)")
    await tab.widget.shows(like=0, dislike=0)
    await tab.event("tallycast:react", tab.widget.like.click)
    await tab.widget.shows(like=1, dislike=0)


async def test_a_stream_of_a_store_that_went_back_is_believed(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall
) -> None:
    """A restored backup, behind a server that went on."""
    item = fresh_item()
    person = await new_person()
    reply = [
        {"type": "counts", "item": item, "version": 10, "counts": {"like": 8, "dislike": 0}},
        {"type": "counts", "item": item, "version": 5, "counts": {"like": 3, "dislike": 0}, "reset": True},
        {"type": "counts", "item": item, "version": 4, "counts": {"like": 2, "dislike": 0}},
    ]
    stream = "".join(f"event: counts\ndata: {json.dumps(one)}\n\n" for one in reply)
    await wall.stand(person)
    await person.route(
        STREAM, lambda route: route.fulfill(body=stream, headers={"Content-Type": "text/event-stream"})
    )
    tab = await new_tab(person)
    tab.tolerant = True
    await tab.page.clock.install()
    await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>')
    await tab.page.clock.run_for(2_000)
    await tab.widget.shows(like=3, dislike=0)


async def test_the_websocket_is_tried_again_after_five_minutes(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall
) -> None:
    item = fresh_item()
    tab = await behind(wall, new_person, new_tab, server, item)
    await tab.page.clock.run_for(2_000)
    await tab.widget.shows(like=0, dislike=0)
    await tab.widget.is_stale(False)
    assert wall.tried == 2

    await pass_time(tab, 280)
    assert wall.tried == 2, "not before"
    await pass_time(tab, 30)
    assert wall.tried == 3
    await tab.widget.is_stale(False)  # on the stream again, after this one failure

    wall.sockets = False
    await pass_time(tab, 310)
    assert wall.tried == 4
    await tab.event("tallycast:react", tab.widget.like.click)
    await tab.widget.shows(like=1, dislike=0)


async def pass_time(tab: Tab, seconds: int) -> None:
    """In steps that leave a connection the time it needs: the server's clock is not the page's."""
    for _ in range(0, seconds, 3):
        await tab.page.clock.run_for(3_000)
        await tab.widget.is_stale(False)


async def test_a_server_that_is_away_is_not_taken_for_a_wall(make_server: object, new_tab: NewTab) -> None:
    """It is stopped for longer than two handshakes take, and everybody comes back by WebSocket."""
    server = make_server()  # type: ignore[operator]
    tab = await new_tab()
    tab.tolerant = True
    await tab.page.clock.install()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)
    streams: list[str] = []
    tab.page.on(
        "request", lambda request: streams.append(request.url) if STREAM.search(request.url) else None
    )
    server.kill()
    await tab.widget.is_stale(True)

    async def later() -> bool:
        await tab.page.clock.run_for(1_000)
        return len(streams) >= 2

    await wait_until(later, True)
    sockets = len(tab.sockets)
    server.restart()

    async def much_later() -> bool:
        await tab.page.clock.run_for(1_000)
        stale: bool = await tab.widget.element.evaluate("element => element.matches(':state(stale)')")
        return stale

    await wait_until(much_later, False)
    assert len(tab.sockets) > sockets
    await expect(tab.widget.like).to_have_text("0")


async def test_a_stream_that_failed_is_let_go(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall
) -> None:
    """An EventSource tries again by itself, forever: each would keep a connection for good."""
    person = await new_person()
    await person.add_init_script(
        "window.sources = []; window.EventSource = class extends EventSource {"
        " constructor(...all) { super(...all); sources.push(this); } }"
    )
    wall.streams = True
    await wall.stand(person)
    tab = await new_tab(person)
    tab.tolerant = True
    await tab.page.clock.install()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.page.clock.run_for(2_000)
    await tab.widget.shows(like=0, dislike=0)
    assert await tab.page.evaluate("sources.map(one => one.readyState)") == [2], "one, and closed"


@pytest.mark.parametrize("answer", [TOO_FAST, AWAY, OTHER], ids=["429", "503", "other"])
async def test_a_page_that_asks_too_often_asks_again_when_told(
    server: Server, new_person: NewPerson, new_tab: NewTab, wall: Wall, answer: dict[str, Any]
) -> None:
    """Also what a proxy says, that does not speak the contract; and until then nothing else is tried."""
    wall.streams = True
    tab = await behind(wall, new_person, new_tab, server, fresh_item())
    await tab.page.clock.run_for(2_000)
    await wait_until(lambda: status(tab), "polling")
    await tab.widget.shows(like=0, dislike=0)

    async def a_second_later() -> str:
        await tab.page.clock.run_for(1_000)
        return await status(tab)

    for _ in range(5):
        assert await a_second_later() == "polling"  # what it asks to begin with is answered
    wall.polls = answer
    await wait_until(a_second_later, "reconnecting")
    asked = wall.polled, wall.tried
    await tab.page.clock.run_for(58_000)
    assert (wall.polled, wall.tried) == asked
    wall.polls = None
    await wait_until(a_second_later, "polling")
    assert wall.tried == asked[1]
