"""Pages that the script cannot place, or the server does not know: the console says why, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeServer

from .publisher import Publisher
from .tabs import NewTab, Server, Tab, fresh_item

EMBED = Path(__file__).parents[2] / "static" / "embed.js"
RECORDER = '<script src="/recorder.js"></script>'


@pytest.fixture
def listed(make_server: MakeServer, tmp_path: Path, publisher: Publisher) -> Server:
    """A server whose site lists the publisher's origin, and no other."""
    sites = tmp_path / "tallycast.toml"
    sites.write_text(f'[sites.blog]\norigins = ["http://{publisher.address}"]\n')
    return make_server(flags=["--config", str(sites)])


async def said(tab: Tab) -> list[str]:
    """What the widget said in the console."""
    return [line for line in await tab.console() if "Tallycast" in line]


async def test_a_sandboxed_frame_names_its_origin_and_the_setting(listed: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    script = f'<script src="{listed.url}/embed.js" data-site="blog" async></script>'
    frame = tab.publisher.put(f'{RECORDER}{script}<live-reactions item="a"></live-reactions>')
    await tab.visit(listed, f'<iframe sandbox="allow-scripts" src="{frame}"></iframe>')
    await tab.waits("() => recorded.filter((line) => line.includes('Tallycast')).length", 1)
    [line] = await said(tab)
    assert "code 4503" in line
    assert "origins" in line
    assert "blog" in line
    assert "null" in line


@pytest.mark.every_browser
async def test_a_file_names_its_origin_and_the_setting(
    listed: Server, new_tab: NewTab, tmp_path: Path, publisher: Publisher
) -> None:
    tab = await new_tab()
    page = tmp_path / "page.html"
    page.write_text(
        f'<script src="http://{publisher.address}/recorder.js"></script>'
        f'<script src="{listed.url}/embed.js" data-site="blog" async></script>'
        '<live-reactions item="a"></live-reactions>'
    )
    await tab.open(page.as_uri())
    await tab.widget().says("Not open to votes.")
    [line] = await said(tab)
    assert "origins" in line
    assert "null" in line


@pytest.mark.parametrize("how", ["inline", "import"])
async def test_a_script_without_an_address_asks_nothing_and_says_so(
    server: Server, new_tab: NewTab, how: str
) -> None:
    """It must not take the page's own origin for the server's; the attribute names one."""
    tab = await new_tab()
    text = EMBED.read_text(encoding="utf-8") if how == "inline" else f"import('{server.url}/embed.js')"
    kind = "" if how == "inline" else ' type="module"'
    item = fresh_item()
    url = tab.publisher.put(
        f"<!doctype html>{RECORDER}<script{kind}>{text}</script>"
        f'<live-reactions item="{item}" server="{server.url}"></live-reactions>'
        '<live-reactions item="none"></live-reactions>'
    )
    await tab.open(url)
    await tab.widget(item).shows(like=0, dislike=0)
    await tab.widget("none").says("Not open to votes.")
    [line] = await said(tab)
    assert "no script src" in line
    asked = "() => performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"
    assert sorted(set(await tab.evaluate(asked)) - {"/embed.js", "/favicon.ico"}) == ["/recorder.js"]
