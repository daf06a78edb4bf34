"""A page that is left and come back to: as it was, where the browser keeps such pages, or loaded anew."""

from __future__ import annotations

import pytest

from .tabs import NewTab, Server, fresh_item

CLICK_WHILE_LEAVING = """<script>
addEventListener('pagehide', () => {
  document.querySelector('live-reactions').shadowRoot.querySelector('button').click();
}, { once: true });
</script>"""
LIKES = """() => {
  window.likes = [];
  document.addEventListener('tallycast:change', ({ detail }) => likes.push(detail.counts.like));
}"""


@pytest.mark.every_browser
async def test_a_vote_that_was_taken_back_meanwhile_stays_so(server: Server, new_tab: NewTab) -> None:
    """The page that was left had not sent it; the next one did."""
    element = f'<live-reactions item="{fresh_item()}"></live-reactions>'
    mine, theirs = await new_tab(), await new_tab()
    await theirs.visit(server, element)
    left = await mine.visit(server, element, head=CLICK_WHILE_LEAVING)
    await mine.widget().shows(like=0, dislike=0)
    await mine.visit(server, element)
    await mine.widget().shows(like=1, dislike=0)
    await mine.widget().holds("like")
    await mine.widget().click("like")
    await mine.widget().says("Your vote: none.")
    await theirs.widget().shows(like=0, dislike=0)
    await theirs.evaluate(LIKES)

    await mine.back(left)
    await mine.widget().shows(like=0, dislike=0)
    await mine.widget().holds(None)
    await mine.widget().click("dislike")
    await theirs.widget().shows(like=0, dislike=1)
    assert set(await theirs.evaluate("() => likes")) == {0}
