"""The main job, as people see it: somebody clicks in one browser, and the number moves in the others."""

import asyncio
from collections.abc import Callable

from playwright.async_api import expect

from .tabs import NewPerson, NewTab, Server, Tab, fresh_item


async def visit(tab: Tab, server: Server, item: str) -> Tab:
    await tab.visit(server, f'<live-reactions item="{item}"></live-reactions>')
    await tab.widget.shows(like=0, dislike=0)
    return tab


async def test_a_click_moves_the_number_in_both_browsers(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)

    await ann.widget.like.click()

    await ann.widget.shows(like=1, dislike=0)
    await bob.widget.shows(like=1, dislike=0)
    await ann.widget.holds("like")
    await bob.widget.holds(None)

    await bob.widget.like.click()
    await ann.widget.shows(like=2, dislike=0)


async def test_a_reload_keeps_the_count_and_the_vote(server: Server, new_tab: NewTab) -> None:
    tab = await visit(await new_tab(), server, fresh_item())
    await tab.event("tallycast:react", tab.widget.like.click)

    await tab.page.reload()

    await tab.widget.shows(like=1, dislike=0)
    await tab.widget.holds("like")


async def test_the_other_button_moves_the_vote(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)
    await ann.widget.like.click()
    await bob.widget.shows(like=1, dislike=0)

    await ann.widget.dislike.click()

    await ann.widget.holds("dislike")
    await ann.widget.shows(like=0, dislike=1)
    await bob.widget.shows(like=0, dislike=1)


async def test_clicking_again_takes_the_vote_back(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)
    await ann.widget.like.click()
    await bob.widget.shows(like=1, dislike=0)

    await ann.widget.like.click()

    await ann.widget.holds(None)
    await ann.widget.shows(like=0, dislike=0)
    await bob.widget.shows(like=0, dislike=0)


async def test_two_tabs_of_one_person_agree(server: Server, new_person: NewPerson, new_tab: NewTab) -> None:
    item, person = fresh_item(), await new_person()
    first = await visit(await new_tab(person), server, item)
    second = await visit(await new_tab(person), server, item)

    await first.widget.like.click()
    await second.widget.holds("like")  # which knew of no visitor when it was opened

    await second.widget.dislike.click()
    await first.widget.holds("dislike")
    await first.widget.shows(like=0, dislike=1)
    await second.widget.shows(like=0, dislike=1)


async def test_many_quick_clicks_end_where_the_last_one_left_off(server: Server, new_tab: NewTab) -> None:
    item = fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)

    await ann.page.evaluate(
        """() => {
          const { shadowRoot } = document.querySelector('live-reactions');
          const [like, dislike] = shadowRoot.querySelectorAll('button');
          for (const button of [like, dislike, dislike, like, like, dislike]) button.click();
        }"""
    )

    await ann.widget.holds("dislike")
    await ann.widget.shows(like=0, dislike=1)
    await bob.widget.shows(like=0, dislike=1)


async def test_more_quick_clicks_than_may_be_end_there_too(
    make_server: Callable[..., Server], new_tab: NewTab
) -> None:
    """Ten in a second and twenty at once is what a visitor may do."""
    server, item = make_server(limited=True), fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)
    await ann.event("tallycast:react", ann.widget.like.click)

    refused = await ann.event(
        "tallycast:error",
        lambda: ann.page.evaluate(
            """async () => {
              const like = document.querySelector('live-reactions').shadowRoot.querySelector('button');
              for (let click = 0; click < 30; click++) {
                like.click();
                await new Promise((then) => setTimeout(then)); // of clicks in one task only the last is sent
              }
            }"""
        ),
    )

    assert refused["code"] == "rate_limited"
    await ann.widget.holds("like")
    await expect(ann.widget.status).to_have_text("Your vote: Like.")
    await bob.widget.shows(like=1, dislike=0)
    await ann.page.reload()
    await ann.widget.holds("like")
    await ann.widget.shows(like=1, dislike=0)


async def test_a_click_while_the_server_is_away_arrives(
    make_server: Callable[[], Server], new_tab: NewTab
) -> None:
    server, item = make_server(), fresh_item()
    ann = await visit(await new_tab(), server, item)
    bob = await visit(await new_tab(), server, item)
    ann.tolerant = bob.tolerant = True  # the browser itself complains about connections that fail
    await ann.event("tallycast:react", ann.widget.like.click)

    await ann.event("tallycast:status", lambda: asyncio.to_thread(server.kill))
    await ann.widget.dislike.click()
    await expect(ann.widget.status).to_contain_text("Offline")
    await ann.widget.shows(like=0, dislike=1)  # my reaction, kept
    await asyncio.to_thread(server.restart)

    await bob.widget.shows(like=0, dislike=1)
    await ann.widget.holds("dislike")
    await expect(ann.widget.status).to_have_text("Your vote: Dislike.")


async def test_a_first_vote_while_the_server_is_away_arrives(
    make_server: Callable[[], Server], new_tab: NewTab
) -> None:
    server = make_server()
    tab = await visit(await new_tab(), server, fresh_item())
    tab.tolerant = True

    await tab.event("tallycast:status", lambda: asyncio.to_thread(server.kill))
    await tab.widget.like.click()

    assert await tab.event("tallycast:react", lambda: asyncio.to_thread(server.restart))
    await tab.widget.shows(like=1, dislike=0)
    await tab.page.reload()
    await tab.widget.holds("like")


async def test_a_vote_that_is_under_way_when_the_element_turns_to_another_item(
    server: Server, new_tab: NewTab
) -> None:
    first, second = fresh_item(), fresh_item()
    tab = await visit(await new_tab(), server, first)
    received = await tab.page.evaluate_handle(
        """(second) => {
          const received = [];
          document.addEventListener('tallycast:react', ({ detail }) => received.push(detail.item));
          const element = document.querySelector('live-reactions');
          element.shadowRoot.querySelector('button').click();
          element.setAttribute('item', second);
          return received;
        }""",
        second,
    )
    other = await new_tab()
    await other.visit(server, f'<live-reactions item="{first}"></live-reactions>')
    await other.widget.shows(like=1, dislike=0)
    await tab.widget.shows(like=0, dislike=0)

    await tab.event("tallycast:react", tab.widget.dislike.click)

    assert await received.evaluate("received => received") == [second], "the first vote was not made on it"
    await other.widget.shows(like=1, dislike=0)
