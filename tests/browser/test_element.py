"""`<live-reactions>` as a good citizen: accessible, quiet, one socket, at home under a strict policy."""

import json

from playwright.async_api import WebSocket, expect

from .tabs import NewTab, Server, fresh_item


async def test_a_keyboard_is_enough(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)

    await tab.page.keyboard.press("Tab")
    await expect(tab.widget.like).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await tab.widget.holds("like")

    await tab.page.keyboard.press("Tab")
    await expect(tab.widget.dislike).to_be_focused()
    await tab.page.keyboard.press("Space")
    await tab.widget.holds("dislike")
    outline = await tab.widget.dislike.evaluate("button => getComputedStyle(button).outlineStyle")
    assert outline == "solid"


async def test_what_a_screen_reader_is_told(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)
    await tab.widget.like.click()
    await expect(tab.widget.status).to_have_text("Your vote: Like.")

    await expect(tab.widget.element.get_by_role("group", name="Reactions")).to_be_visible()
    for button, count in ((tab.widget.like, "1"), (tab.widget.dislike, "0")):
        await expect(button).to_have_accessible_description(count)
    # Names stay the same whatever is pressed, and no count is inside a live region.
    await expect(tab.widget.like).to_have_accessible_name("Like")
    await expect(
        tab.widget.element.locator("[role=status] [part=count], [aria-live] [part=count]")
    ).to_have_count(0)

    await tab.widget.like.click()
    await expect(tab.widget.status).to_have_text("Your vote: none.")


async def test_labels_and_readonly_follow_the_attributes(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    body = f'<live-reactions item="{fresh_item()}" label-like="Gut" readonly></live-reactions>'
    await tab.visit(server, body)

    good = tab.widget.element.get_by_role("button", name="Gut")
    await expect(good).to_be_disabled()
    await tab.widget.element.evaluate(
        "element => { element.removeAttribute('readonly'); element.setAttribute('label-like', 'Prima'); }"
    )
    await expect(tab.widget.element.get_by_role("button", name="Prima")).to_be_enabled()


async def test_a_strict_policy_has_nothing_to_object_to(server: Server, new_tab: NewTab) -> None:
    """The policy allows no inline style and no markup from strings. `new_tab` checks the console."""
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)

    await tab.event("tallycast:react", tab.widget.like.click)

    buttons = tab.widget.element.get_by_role("button").first
    assert await buttons.evaluate("button => getComputedStyle(button).borderRadius") != "0px", "no styles"
    globals_ = await tab.page.evaluate("Object.keys(window).filter((name) => /tally/i.test(name))")
    assert globals_ == ["tallycast"]


async def test_twenty_elements_use_one_socket(server: Server, new_tab: NewTab) -> None:
    items = [fresh_item() for _ in range(20)]
    tab = await new_tab()
    sent: list[dict[str, object]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(json.loads(frame)))

    tab.page.on("websocket", listen)
    await tab.visit(server, "".join(f'<live-reactions item="{item}"></live-reactions>' for item in items))
    for index in range(20):
        await tab.widgets(index).shows(like=0, dislike=0)

    await tab.event("tallycast:react", tab.widgets(7).like.click)

    assert len(tab.sockets) == 1
    assert [message.get("items") for message in sent if message["type"] == "watch"] == [items]
    await tab.widgets(7).shows(like=1, dislike=0)
    await tab.widgets(8).shows(like=0, dislike=0)


async def test_two_elements_of_one_item_are_one(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>' * 2)
    await tab.widgets(1).shows(like=0, dislike=0)

    await tab.widgets(0).like.click()

    await tab.widgets(1).shows(like=1, dislike=0)
    await tab.widgets(1).holds("like")
    await expect(tab.widgets(0).status).to_have_text("Your vote: Like.")
    await expect(tab.widgets(1).status).to_be_empty()  # said once


async def test_an_element_follows_its_item(server: Server, new_tab: NewTab) -> None:
    first, second = fresh_item(), fresh_item()
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{first}"></live-reactions>')
    await tab.event("tallycast:react", tab.widget.like.click)

    await tab.widget.element.evaluate("(element, item) => element.setAttribute('item', item)", second)
    await tab.widget.shows(like=0, dislike=0)
    await tab.widget.holds(None)
    await tab.widget.element.evaluate("(element, item) => element.setAttribute('item', item)", first)
    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")


async def test_without_an_item_it_is_the_page(server: Server, new_tab: NewTab) -> None:
    tab, path = await new_tab(), fresh_item()
    await tab.visit(server, "<live-reactions></live-reactions>", path=path)
    await tab.widget.shows(like=0, dislike=0)

    assert await tab.event("tallycast:react", tab.widget.like.click) == {
        "item": f"{server.url}/{path}",
        "reaction": "like",
    }


async def test_a_long_item_becomes_its_digest(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{"ä" * 129}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)

    detail = await tab.event("tallycast:react", tab.widget.like.click)

    assert detail["item"].startswith("sha256:")
    assert len(detail["item"]) == len("sha256:") + 64


async def test_a_visitor_is_made_at_the_first_click(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    requests: list[str] = []
    tab.page.on("request", lambda request: requests.append(request.url))
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)
    assert not [url for url in requests if "/v1/" in url]

    await tab.event("tallycast:react", tab.widget.like.click)
    await tab.event("tallycast:react", tab.widget.dislike.click)

    assert len([url for url in requests if "/v1/" in url]) == 1
    assert await tab.page.evaluate("document.cookie") == ""


async def test_a_token_from_another_life_of_the_server_is_replaced(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    tab = await new_tab()
    tab.tolerant = True  # the browser reports the 401 itself
    await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>')
    key = f"tallycast:{server.url}:default"
    value = json.dumps({"token": "not.a.token", "renew": 4e12})
    await tab.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, value])
    await tab.page.reload()
    await tab.widget.shows(like=0, dislike=0)

    await tab.event("tallycast:react", tab.widget.like.click)

    await tab.page.reload()
    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")
