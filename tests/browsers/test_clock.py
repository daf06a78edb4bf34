"""The browser's clock is wrong, or is set while the page is open: only the server's time counts."""

from __future__ import annotations

import pytest

from .tabs import NewTab, Server, fresh_item

# `days`: by how much this browser is ahead.
CLOCK = """<script>
const right = Date.now;
window.days = %s;
Date.now = () => right() + days * 864e5;
</script>"""


@pytest.mark.parametrize("days", [40, -3650])
async def test_a_wrong_clock_has_one_vote_and_that_counts(server: Server, new_tab: NewTab, days: int) -> None:
    element = f'<live-reactions item="{fresh_item()}"></live-reactions>'
    theirs, mine = await new_tab(), await new_tab()
    await theirs.visit(server, element)
    await mine.visit(server, element, head=CLOCK % days)
    await mine.widget().shows(like=0, dislike=0)

    await mine.widget().click("like")
    await mine.widget().says("Your vote: Like.")
    for now in (0, days, -days):
        await mine.evaluate("(days) => { window.days = days; }", now)
        await mine.widget().click("dislike")
        await mine.widget().says("Your vote: Dislike.")
        await theirs.widget().shows(like=0, dislike=1)
        await mine.widget().click("like")
        await mine.widget().says("Your vote: Like.")
        await theirs.widget().shows(like=1, dislike=0)

    await mine.visit(server, element, head=CLOCK % -days)  # the next visit, with another clock
    await mine.widget().holds("like")
    await mine.widget().click("dislike")
    await mine.widget().says("Your vote: Dislike.")
    await theirs.widget().shows(like=0, dislike=1)
