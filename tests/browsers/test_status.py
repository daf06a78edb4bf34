"""What the status says, and when that is out of date."""

from __future__ import annotations

from .tabs import NewTab, Server, fresh_item


async def test_a_vote_in_another_tab_takes_back_what_was_said(server: Server, new_tab: NewTab) -> None:
    element = f'<live-reactions item="{fresh_item()}"></live-reactions>'
    first = await new_tab()
    second = await new_tab(first.person)
    for tab in (first, second):
        await tab.visit(server, element)
        await tab.widget().shows(like=0, dislike=0)
    await first.widget().click("like")
    await first.widget().says("Your vote: Like.")
    await second.widget().holds("like")

    await second.widget().click("dislike")
    await second.widget().says("Your vote: Dislike.")
    await first.widget().holds("dislike")
    await first.widget().says("")
