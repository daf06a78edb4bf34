"""An element in documents as they are: links, frames, long addresses and queries, older engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.script import EMBED
from tests.conftest import MakeServer

from .tabs import NewTab, Server, Tab, fresh_item, wait_until

# The item of the element that a function puts into the page, or changes.
ITEM = """(change, given) => new Promise((tell) => {
  addEventListener('tallycast:ready', ({ detail }) => tell(detail.item), { once: true });
  change(given);
})"""
PUT = f"(html) => ({ITEM})((html) => {{ document.body.innerHTML = html; }}, html)"


async def said(tab: Tab, start: str) -> str:
    """Wait for a line in the console that starts so; the line."""
    lines: list[str] = []

    async def look() -> bool:
        lines[:] = [line for line in await tab.console() if line.startswith(start)]
        return bool(lines)

    await wait_until(look, True)
    return lines[0]


@pytest.mark.every_browser
async def test_inside_a_link_it_votes_and_stays(server: Server, new_tab: NewTab) -> None:
    """By mouse and by key; what is beside the buttons is still the link's."""
    tab = await new_tab()
    item = fresh_item()
    url = await tab.visit(
        server, f'<a href="#gone">A card <live-reactions item="{item}"></live-reactions></a>'
    )
    await tab.widget().shows(like=0, dislike=0)
    await tab.widget().click("like")
    await tab.widget().says("Your vote: Like.")
    await tab.press("Tab")
    await tab.press("Enter")
    await tab.widget().says("Your vote: Dislike.")
    assert await tab.evaluate("() => location.href") == url
    await tab.evaluate("() => document.querySelector('a').click()")
    assert await tab.evaluate("() => location.href") == f"{url}#gone"


async def test_it_keeps_its_style_in_another_document(server: Server, new_tab: NewTab) -> None:
    """There and back again, and after a stay in a document that is not shown at all."""
    tab = await new_tab()
    frame = tab.publisher.put("<!doctype html><body>")
    element = f'<live-reactions item="{fresh_item()}"></live-reactions>'
    await tab.visit(server, f'{element}<iframe src="{frame}"></iframe>')
    await tab.widget().shows(like=0, dislike=0)
    move = """(where) => {
      const { contentDocument } = document.querySelector('iframe');
      window.element ??= document.querySelector('live-reactions');
      const inert = document.implementation.createHTMLDocument();
      ({ inert, frame: contentDocument, page: document })[where].body.append(element);
    }"""
    radius = "() => getComputedStyle(element.shadowRoot.querySelector('button')).borderTopLeftRadius"
    for where in ("frame", "page", "inert", "frame", "inert", "page"):
        await tab.evaluate(move, where)
        if where != "inert":
            await tab.waits(f"() => ({radius})() !== '0px'")
    await tab.widget().click("like")
    await tab.widget().says("Your vote: Like.")
    assert await tab.console() == []


@pytest.mark.every_browser
async def test_a_thumb_is_named_by_its_label(server: Server, new_tab: NewTab) -> None:
    """As the browser computes it, and not by the count beside it."""
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}" label-like="Gut"></live-reactions>')
    await tab.widget().shows(like=0, dislike=0)
    assert await tab.is_named(tab.widget().button("like"), "Gut")
    assert await tab.is_named(tab.widget().button("dislike"), "Dislike")
    assert not await tab.is_named(tab.widget().button("dislike"), "0")
    await tab.query("live-reactions", "(e) => e.setAttribute('label-like', 'Prima')")
    assert await tab.is_named(tab.widget().button("like"), "Prima")


async def test_of_a_query_only_what_is_named_counts(server: Server, new_tab: NewTab) -> None:
    """In any order, and with a warning in the console where nothing says which."""
    tab = await new_tab()
    path = f"/{fresh_item()}"
    await tab.visit(server, "", path=path, host="blog.test")
    items = []
    for query, attributes in (
        ("?p=1", ""),
        ("?p=2&utm=x", "params=p"),
        ("?utm=y&b=%C3%A9&p=2&p=3", 'params="p b"'),
        ("?p=3&b=%C3%A9&p=2", 'params="b p"'),
        ("?utm=y", 'params="p b"'),
    ):
        await tab.open(f"http://blog.test{path}{query}")
        items.append(await tab.evaluate(PUT, f"<live-reactions {attributes}></live-reactions>"))
        assert f"http://blog.test{path}" in await said(tab, "info: Tallycast: ")
    page = f"http://blog.test{path}"
    both = f"{page}?b=%C3%A9&p=2&p=3"
    assert items == [page, f"{page}?p=2", both, both, page]

    change = f"(e) => ({ITEM})((name) => e.setAttribute('params', name), 'utm')"
    assert await tab.query("live-reactions", change) == f"{page}?utm=y"


async def test_a_long_address_on_a_plain_page_says_why(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, "<live-reactions></live-reactions>", path="/" + "a" * 440, host="blog.test")
    line = await said(tab, "warn: Tallycast: ")
    assert "at most 256 bytes" in line
    assert "https" in line
    assert line.endswith("/" + "a" * 440)


async def test_a_digest_that_the_site_does_not_allow_says_why(
    make_server: MakeServer, new_tab: NewTab, tmp_path: Path
) -> None:
    """And what to write, which then works."""
    tab = await new_tab()
    item = "posts/" + "a" * 300
    for pattern, allowed in (("posts/.*", False), ("posts/.*|sha256:[0-9a-f]{64}", True)):
        sites = tmp_path / f"{allowed}.toml"
        sites.write_text(f"[sites.blog]\norigins = ['*']\nitems = '{pattern}'\n")
        server = make_server(flags=["--config", str(sites)])
        await tab.visit(server, f'<live-reactions site="blog" item="{item}"></live-reactions>')
        if allowed:
            await tab.widget().shows(like=0, dislike=0)
            await tab.widget().click("like")
            await tab.widget().says("Your vote: Like.")
        else:
            assert "sha256:[0-9a-f]{64}" in await said(tab, "warn: Tallycast: ")


async def test_an_engine_that_makes_no_style_sheets_shows_what_the_page_has(
    server: Server, new_tab: NewTab
) -> None:
    tab = await new_tab()
    old = tab.publisher.put(
        "CSSStyleSheet = function () { throw TypeError('Illegal constructor') }",
        headers={"Content-Type": "text/javascript"},
    )
    given = '<live-reactions item="a"><data data-kind="like" value="7">7 likes</data></live-reactions>'
    await tab.visit(server, given, head=f'<script src="{old}"></script>')
    await said(tab, "uncaught: ")
    shown = "(e) => [e.shadowRoot, e.querySelector('data').getClientRects().length]"
    assert await tab.query("live-reactions", shown) == [None, 1]


async def test_an_engine_without_light_dark_color_mix_and_reflected_aria(
    server: Server, new_tab: NewTab
) -> None:
    """As Firefox 101: everything can be seen and read, in a dark page too."""
    tab = await new_tab()
    script = EMBED.read_text()
    for name in ("light-dark(", "color-mix("):
        assert name in script
        script = script.replace(name, f"unknown-{name}")
    js = {"Content-Type": "text/javascript"}
    old = tab.publisher.put(script, headers=js)
    reflected = "for (const name of ['ariaPressed', 'ariaLabel']) delete Element.prototype[name];"
    page = tab.publisher.put(
        f'<!doctype html><script>{reflected}</script><script src="{old}" async></script>'
        "<style>html { background: #111; color: #eee }</style>"
        f'<body><live-reactions server="{server.url}" item="{fresh_item()}"></live-reactions>'
    )
    await tab.open(page)
    await tab.widget().shows(like=0, dislike=0)
    await tab.widget().click("dislike")
    await tab.widget().holds("dislike")
    await tab.widget().says("Your vote: Dislike.")
    colours = """({ shadowRoot }) => {
      const style = (selector) => getComputedStyle(shadowRoot.querySelector(selector));
      const [button, bar] = [style('[part=dislike]'), style('i')];
      const border = ({ borderTopColor, borderTopWidth }) => [borderTopColor, borderTopWidth];
      return [button.color, ...border(button), ...border(bar)];
    }"""
    text = "rgb(238, 238, 238)"
    await wait_until(lambda: tab.query("live-reactions", colours), [text, text, "1px", text, "3px"])
