"""Where a page cannot have a socket: its policy forbids it, or a proxy refuses the upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .proxy import Proxy, without_upgrades
from .tabs import NewTab, Server, Tab, fresh_item

# Counts the sockets that are asked for, and keeps the statuses and errors that are reported to the page.
WATCH = """<script>
window.dialled = 0;
window.reported = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) { dialled++; super(...given); }
};
for (const name of ['status', 'error'])
  document.addEventListener('tallycast:' + name, ({ detail }) => reported.push(detail.status ?? detail.code));
</script>"""


@pytest_asyncio.fixture(loop_scope="session")
async def walled(server: Server) -> AsyncIterator[Proxy]:
    async with without_upgrades(server) as proxy:
        yield proxy


@pytest.mark.every_browser
async def test_a_policy_without_sockets_is_no_end(server: Server, new_tab: NewTab) -> None:
    """Firefox and WebKit throw, Chromium fires an `error` and no `close`: the stream takes over at once."""
    item = fresh_item()
    element = f'<live-reactions item="{item}"></live-reactions>'
    mine, theirs = await new_tab(), await new_tab()
    policy = f"script-src 'self' 'unsafe-inline' {server.url}; connect-src {server.url}"
    await mine.visit(server, element, head=WATCH, policy=policy)
    await theirs.visit(server, element)
    await mine.widget().shows(like=0, dislike=0)
    assert await mine.evaluate("() => [dialled, reported.at(-1)]") == [1, "live"], "with one handshake"

    await mine.widget().click("like")
    await mine.widget().says("Your vote: Like.")
    await theirs.widget().shows(like=1, dislike=0)
    await theirs.widget().click("like")
    await mine.widget().shows(like=2, dislike=0)


async def test_a_policy_without_the_server_keeps_the_vote_and_says_so(
    server: Server, new_tab: NewTab
) -> None:
    tab = await new_tab()
    policy = f"script-src 'self' 'unsafe-inline' {server.url}; connect-src 'self'"
    await tab.visit(
        server, f'<live-reactions item="{fresh_item()}"></live-reactions>', head=WATCH, policy=policy
    )
    await tab.waits("() => reported.at(-1)", "reconnecting")
    await tab.widget().click("like")
    await tab.widget().says("Offline. Your vote is kept.")
    await tab.widget().holds("like")
    assert await tab.evaluate("() => reported.includes('closed')") is False


@pytest.mark.every_browser
async def test_an_address_that_is_none_is_the_end_and_says_so(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    body = '<live-reactions item="a" server="https://["></live-reactions>'
    await tab.visit(server, body, head=WATCH)
    await tab.widget().says("Not open to votes.")
    assert await tab.evaluate("() => reported") == ["connecting", "closed", "forbidden"]
    said = await tab.console()
    assert len(said) == 1
    assert said[0].startswith("warn: Tallycast: ")


@pytest.mark.parametrize("host", ["", "blog.test"], ids=["secure", "plain"])
async def test_eight_tabs_behind_a_proxy_that_refuses_sockets(
    walled: Proxy, server: Server, new_tab: NewTab, host: str
) -> None:
    """Six connections to a host are all that HTTP/1.1 has: streams must leave some to clicks and polls."""
    item = fresh_item()
    element = f'<live-reactions item="{item}"></live-reactions>'
    theirs = await new_tab()
    await theirs.visit(server, element)
    mine = await new_tab()
    await _frames(mine, walled, element, host)

    shown = """() => Array.from(frames, ({ document }) =>
      document.querySelector('live-reactions')?.shadowRoot?.querySelector('[part=count]')?.textContent)"""
    await mine.waits(shown, ["0"] * 8)
    await mine.evaluate(
        "() => frames[0].document.querySelector('live-reactions').shadowRoot.querySelector('button').click()"
    )
    await theirs.widget().shows(like=1, dislike=0)
    await mine.waits(
        """() => frames[0].document.querySelector('live-reactions')
          .shadowRoot.querySelector('[role=status]').textContent""",
        "Your vote: Like.",
    )
    # The one that came last streams, where streams can be counted.
    streams = 0 if host else 1
    statuses = "() => Array.from(frames, ({ reported }) => reported.at(-1)).sort()"
    await mine.waits(statuses, ["live"] * streams + ["polling"] * (8 - streams))


async def _frames(tab: Tab, walled: Proxy, element: str, host: str) -> None:
    """Eight frames share their connections and their locks as eight visible tabs would."""
    frame = f'<!doctype html>{WATCH}<script src="{walled.url}/embed.js" async></script>{element}'
    tab.publisher.put(frame, "/frame", host)
    frames = '<iframe src="/frame" width="300" height="55"></iframe>' * 8
    await tab.open(tab.publisher.put(f"<!doctype html>{frames}", "/frames", host))
