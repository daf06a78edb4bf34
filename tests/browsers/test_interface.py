"""What the tests in this folder rely on: input is real, people and tabs are what they say."""

import pytest

from .tabs import NewTab, Server, fresh_item


@pytest.mark.every_browser
async def test_two_people_and_two_tabs_of_one(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    element = f'<live-reactions item="{item}"></live-reactions>'
    mine = await new_tab()
    also_mine, theirs = await new_tab(mine.person), await new_tab()
    for tab in (mine, also_mine, theirs):
        await tab.visit(server, element)
        await tab.widget().shows(like=0, dislike=0)
        assert await tab.evaluate("() => [document.visibilityState, isSecureContext]") == ["visible", True]

    await mine.widget(item).click("like")
    await mine.widget().says("Your vote: Like.")
    await also_mine.widget().holds("like")
    await theirs.widget().shows(like=1, dislike=0)
    await theirs.widget().holds(None)
    assert await mine.console() == []


@pytest.mark.every_browser
async def test_keys(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget().shows(like=0, dislike=0)
    await tab.press("Tab")
    await tab.press("Enter")
    await tab.widget().holds("like")
    await tab.press("Tab")
    await tab.press("Space")
    await tab.widget().holds("dislike")


async def test_any_host_is_the_publisher_and_may_be_insecure(server: Server, new_tab: NewTab) -> None:
    """What a page says, its frames and its policy, is read whatever the browser."""
    tab = await new_tab()
    policy = f"script-src 'self' {server.url}; img-src data:"
    frame = "<script src=/recorder.js></script><script src=/nothing.js></script>"
    inner = tab.publisher.put("console.warn('from a frame')", "/nothing.js", "blog.test")
    assert inner == "http://blog.test/nothing.js"
    tab.publisher.put(frame, "/frame", "blog.test")
    await tab.visit(server, "<img src=/a.png><iframe src=/frame></iframe>", policy=policy, host="blog.test")
    assert await tab.evaluate("() => isSecureContext") is False
    await tab.waits(
        "() => recorded.sort().join()", "refused: img-src http://blog.test/a.png,warn: from a frame"
    )


async def test_a_size_and_a_scheme(server: Server, new_tab: NewTab) -> None:
    for dark in (False, True):
        tab = await new_tab(dark=dark)
        await tab.visit(server, '<meta name="color-scheme" content="light dark">')
        await tab.resize(500, 400)
        seen = await tab.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
        assert seen is dark
        assert (await tab.screenshot()).startswith(b"\x89PNG")
