"""Reactions, items and sites with names that JavaScript treats specially; and in which order they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeServer

from .tabs import NewTab, Server, Tab

ORDER = """(name) => [...document.querySelector(`live-reactions[item="${name}"]`)
  .shadowRoot.querySelectorAll('button')].map(({ part }) => part.value)"""
STARS = ["5", "4", "3", "a", "2"]
SPECIAL = ["valueOf", "constructor", "__proto__"]


@pytest.fixture
def named(make_server: MakeServer, tmp_path: Path) -> Server:
    sites = tmp_path / "tallycast.toml"
    sites.write_text(
        f'[sites.stars]\norigins = ["*"]\nkinds = {STARS}\n'
        f'[sites.constructor]\norigins = ["*"]\nkinds = {SPECIAL}\n'
    )
    return make_server(flags=["--config", str(sites)])


async def votes(tab: Tab, item: str, kinds: list[str]) -> None:
    """Each can be voted for, in the order configured, and is the only one then."""
    widget = tab.widget(item)
    await tab.waits(ORDER, kinds, item)
    for kind in kinds:
        await widget.click(kind)
        await tab.waits("() => voted", kind)
        await widget.shows(**{other: int(other == kind) for other in kinds})
        await widget.holds(kind)


@pytest.mark.parametrize("blocked", [False, True], ids=["socket", "fallback"])
async def test_special_names_work_in_the_order_configured(
    named: Server, new_tab: NewTab, blocked: bool
) -> None:
    listen = """<script>
      window.voted = '';
      document.addEventListener('tallycast:react', ({ detail }) => { window.voted = detail.reaction; });
    </script>"""
    given = '<data data-kind="" value="1"></data><data value="2"></data>'
    policy = f"script-src 'self' 'unsafe-inline' {named.url}; connect-src {named.url}" if blocked else ""
    tab = await new_tab()
    items = ["__proto__", "constructor"]
    await tab.visit(
        named,
        f'<live-reactions site="stars" item="{items[0]}">{given}</live-reactions>'
        f'<live-reactions site="constructor" item="{items[1]}">{given}</live-reactions>',
        head=listen,
        policy=policy,
    )
    await votes(tab, items[0], STARS)
    await votes(tab, items[1], SPECIAL)
    assert [line for line in await tab.console() if line.startswith("uncaught")] == []
