"""Votes made where the server cannot be reached: kept, the last one for each item, and sent on return."""

from __future__ import annotations

import json
from functools import partial

import pytest
from playwright.async_api import Page, expect

from .script import ORIGIN, ScriptedServer
from .tabs import Widget, event

KEY = f"tallycast:{ORIGIN}:default"
PENDING = f"{KEY}:wishes"


async def kept(page: Page) -> dict[str, str | None]:
    pending: dict[str, str | None] = json.loads(
        await page.evaluate("key => localStorage[key] ?? '{}'", PENDING)
    )
    return pending


async def alone(scripted: ScriptedServer) -> Widget:
    """A page with a visitor, and a server that is just away."""
    page = scripted.page
    visitor = json.dumps({"token": "me", "renew": 4e12})
    await page.add_init_script(f"localStorage[{json.dumps(KEY)}] ??= {json.dumps(visitor)}")
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_010)
    await scripted.close(1012)
    await widget.is_stale(True)
    return widget


async def other_tab(scripted: ScriptedServer, item: str, reaction: str | None) -> None:
    """What another tab of the same person writes."""
    other = await scripted.page.context.new_page()
    await other.route(f"{ORIGIN}/empty", lambda route: route.fulfill(body="", content_type="text/html"))
    await other.goto(f"{ORIGIN}/empty")
    pending = await kept(other)
    pending[item] = reaction
    await other.evaluate("([key, value]) => { localStorage[key] = value; }", [PENDING, json.dumps(pending)])
    await other.close()


async def test_a_vote_survives_its_page(scripted: ScriptedServer) -> None:
    widget = await alone(scripted)
    await widget.like.click()
    await widget.dislike.click()
    await expect(widget.status).to_have_text("Offline. Your vote is kept.")
    assert await kept(scripted.page) == {"a": "dislike"}

    await scripted.page.reload()
    await scripted.connection()
    react = await scripted.receive("react")
    assert (react["item"], react["reaction"]) == ("a", "dislike")
    await widget.holds("dislike")
    scripted.ack(react, 10, like=0, dislike=1)
    await widget.shows(like=0, dislike=1)
    await scripted.page.wait_for_function("key => localStorage[key] === '{}'", arg=PENDING)


async def test_a_vote_for_an_item_that_is_not_on_the_page_is_sent_too(scripted: ScriptedServer) -> None:
    widget = await alone(scripted)
    await other_tab(scripted, "elsewhere", "like")
    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    react = await scripted.receive("react")
    assert (react["item"], react["reaction"]) == ("elsewhere", "like")
    scripted.ack(react, 10, like=1, dislike=0)
    await scripted.page.wait_for_function("key => localStorage[key] === '{}'", arg=PENDING)
    await widget.shows(like=0, dislike=0)


async def test_the_last_of_two_tabs_counts(scripted: ScriptedServer) -> None:
    widget = await alone(scripted)
    await widget.like.click()
    await other_tab(scripted, "a", "dislike")
    await widget.holds("dislike")  # shown here as well

    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    assert (await scripted.receive("react"))["reaction"] == "dislike"


async def test_taking_a_vote_back_counts_as_the_last_word_too(scripted: ScriptedServer) -> None:
    widget = await alone(scripted)
    await widget.like.click()
    await other_tab(scripted, "a", None)
    await widget.holds(None)

    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    assert (await scripted.receive("react"))["reaction"] is None


@pytest.mark.parametrize("own", [True, False], ids=["own", "adopted"])
async def test_a_vote_that_another_tab_has_sent_is_not_sent_again(
    scripted: ScriptedServer, own: bool
) -> None:
    """It was acknowledged there, and may have been taken back since. A page that was kept for going back
    has heard no event of that."""
    widget = await alone(scripted)
    if own:
        await widget.like.click()
    else:
        await other_tab(scripted, "a", "like")
    await widget.holds("like")
    await scripted.page.evaluate("key => { localStorage[key] = '{}'; }", PENDING)

    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    watch = await scripted.receive("watch")
    scripted.say("watching", ref=watch["ref"])
    await widget.holds(None)
    await widget.dislike.click()
    assert (await scripted.receive("react"))["reaction"] == "dislike", "the first that is heard of"


async def test_a_vote_is_kept_where_storage_is_full(scripted: ScriptedServer) -> None:
    """While the page lives."""
    widget = await alone(scripted)
    await scripted.page.evaluate(
        """key => {
          localStorage[key] = '{}';
          localStorage.filler = '';
          let size = 1 << 24;
          while (size >= 1) {
            try { localStorage.filler += 'x'.repeat(size); } catch { size /= 2; }
          }
        }""",
        PENDING,
    )
    await widget.like.click()
    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    assert (await scripted.receive("react"))["reaction"] == "like"


async def test_while_live_another_tabs_vote_is_its_own_to_send(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    await other_tab(scripted, "a", "dislike")
    await widget.holds(None)  # superseded; what came of it the server will tell

    scripted.ack(react, 10, like=1, dislike=0)
    scripted.say("mine", item="a", version=11, reaction="dislike")
    scripted.counts("a", 11, like=0, dislike=1)
    await widget.shows(like=0, dislike=1)
    await widget.holds("dislike")
    assert await kept(scripted.page) == {"a": "dislike"}, "not this tab's to forget"
    await scripted.close(1012)
    await scripted.connection()


async def test_an_answer_does_not_forget_what_was_clicked_since(scripted: ScriptedServer) -> None:
    """Another tab has written, and this one has not heard of it yet (no page hears of its own writing)."""
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    later = json.dumps({"a": "dislike", "b": "like"})
    await scripted.page.evaluate("([key, value]) => { localStorage[key] = value; }", [PENDING, later])
    scripted.ack(react, 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")
    assert await kept(scripted.page) == {"a": "dislike", "b": "like"}


async def test_a_users_vote_is_not_left_behind(scripted: ScriptedServer) -> None:
    """The next one at this browser may be somebody else."""
    widget = await scripted.open()
    await scripted.page.evaluate("tallycast.auth('user')")
    await scripted.receive("auth")
    await scripted.close(1012)
    await widget.is_stale(True)
    await widget.like.click()
    assert await kept(scripted.page) == {}
    await scripted.connection()
    assert (await scripted.receive("react"))["reaction"] == "like"  # while the page lives, it is kept


async def test_a_vote_that_was_not_sent_is_nobody_elses(scripted: ScriptedServer) -> None:
    """Ann clicked while the server was away, and Bob has signed in since, or nobody."""
    page = scripted.page
    # The page's clock is moved by hand: it must not connect again before the hand-over.
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_010)
    for successor in ("'bob'", "async () => 'bob'", "null"):
        await page.evaluate("tallycast.auth('ann')")
        assert (await scripted.receive("auth"))["token"] == "ann"
        await scripted.close(1012)
        await widget.is_stale(True)
        await widget.like.click()
        await widget.holds("like")

        hand_over = partial(page.evaluate, f"tallycast.auth({successor})")
        answer = await event(page, "tallycast:error", hand_over)
        assert answer == {"item": "a", "code": "unavailable"}
        await widget.holds(None)
        await widget.shows(like=0, dislike=0)
        await expect(widget.status).to_have_text("Not saved. Try again.")

        await page.clock.run_for(2_600)  # the third pause is at most this long
        await scripted.connection()
        if successor != "null":
            assert (await scripted.receive("auth"))["token"] == "bob"
        await widget.dislike.click()
        react = await scripted.receive("react")
        assert react["reaction"] == "dislike", "the first that is heard of, and Bob's own"
        scripted.say("error", code="forbidden", message="frozen", item="a", ref=react["ref"])
        await widget.holds(None)


async def test_a_vote_whose_answer_was_lost_is_nobody_elses(scripted: ScriptedServer) -> None:
    """It was sent as Ann's, and nobody knows whether it arrived."""
    page = scripted.page
    widget = await scripted.open()
    await page.evaluate("tallycast.auth('ann')")
    await widget.like.click()
    await scripted.receive("react")
    await page.evaluate("tallycast.auth('bob')")
    assert (await scripted.receive("auth"))["token"] == "bob"
    await widget.holds("like")  # it may still be confirmed

    async def again() -> None:
        await scripted.close(1012)
        await scripted.connection()

    assert await event(page, "tallycast:error", again) == {"item": "a", "code": "unavailable"}
    assert (await scripted.receive("auth"))["token"] == "bob"
    await widget.holds(None)
    await widget.dislike.click()
    assert (await scripted.receive("react"))["reaction"] == "dislike"


@pytest.mark.parametrize("nobody", ["null", "''"])
async def test_a_kept_vote_is_shown_where_the_page_says_that_nobody_is_signed_in(
    scripted: ScriptedServer, nobody: str
) -> None:
    """As a page may do whenever it loads."""
    widget = await alone(scripted)
    await widget.like.click()
    await widget.holds("like")
    await scripted.page.reload()
    await scripted.page.evaluate(f"tallycast.auth({nobody})")
    await scripted.page.clock.run_for(1_100)
    await scripted.connection()
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await widget.shows(like=1, dislike=0)
    await widget.holds("like")
    await scripted.page.wait_for_function("key => localStorage[key] === '{}'", arg=PENDING)
    await widget.holds("like")


async def test_a_vote_that_is_confirmed_late_was_still_its_own(scripted: ScriptedServer) -> None:
    """Messages take effect in the order sent: what Ann sent is hers, whoever has signed in behind it."""
    page = scripted.page
    widget = await scripted.open()
    await page.evaluate("tallycast.auth('ann')")
    await widget.like.click()
    react = await scripted.receive("react")
    await page.evaluate("tallycast.auth('bob')")
    auth = await scripted.receive("auth")
    scripted.ack(react, 10, like=1, dislike=0)
    scripted.say("ready", visitor="u:bob", ref=auth["ref"])
    await widget.shows(like=1, dislike=0)
    await widget.holds(None)


async def test_an_anonymous_vote_that_was_not_sent_goes_over_to_the_user(scripted: ScriptedServer) -> None:
    """As all votes of the anonymous visitor do."""
    widget = await scripted.open()
    await scripted.close(1012)
    await widget.is_stale(True)
    await widget.like.click()
    await scripted.page.evaluate("tallycast.auth('ann')")
    await scripted.connection()
    assert (await scripted.receive("auth"))["token"] == "ann"
    assert (await scripted.receive("react"))["reaction"] == "like"


async def test_nobody_votes_as_who_was_there_before(scripted: ScriptedServer) -> None:
    """Bob's token is not to be had, and Ann's was the last: the connection becomes nobody's."""
    page = scripted.page
    widget = await scripted.open()
    await page.evaluate("tallycast.auth('ann')")
    assert (await scripted.receive("auth"))["token"] == "ann"
    await page.evaluate("tallycast.auth(() => Promise.reject())")
    await scripted.connection()
    await scripted.receive("watch")
    await widget.like.click()
    await expect(widget.status).to_have_text("Not saved. Try again.")
    await widget.holds(None)
    await page.evaluate("tallycast.auth('bob')")
    await widget.dislike.click()
    assert (await scripted.receive("auth"))["token"] == "bob"
    assert (await scripted.receive("react"))["reaction"] == "dislike", "the first that is heard of"


async def test_a_vote_that_was_refused_is_forgotten(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    assert await kept(scripted.page) == {"a": "like"}
    scripted.say("error", code="forbidden", message="frozen", item="a", ref=react["ref"])
    await expect(widget.status).to_have_text("Not open to votes.")
    assert await kept(scripted.page) == {}


async def test_a_vote_that_waits_says_so(scripted: ScriptedServer) -> None:
    """The connection seems to be fine, and nothing comes back."""
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_010)
    await widget.like.click()
    react = await scripted.receive("react")
    answer = await event(page, "tallycast:error", partial(page.clock.run_for, 10_000))
    assert answer == {"item": "a", "code": "offline"}
    await expect(widget.status).to_have_text("Offline. Your vote is kept.")
    await widget.holds("like")
    scripted.ack(react, 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")


async def test_a_vote_that_waits_is_reported_on_its_own_item_only(scripted: ScriptedServer) -> None:
    """The element has turned to another one meanwhile."""
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_010)
    await page.evaluate(
        "window.errors = []; document.addEventListener('tallycast:error', event => errors.push(event.detail))"
    )
    await widget.like.click()
    await scripted.receive("react")
    await widget.element.evaluate("element => element.setAttribute('item', 'b')")
    await scripted.receive("watch")
    await page.clock.run_for(10_000)
    assert await page.evaluate("errors") == []
    await expect(widget.status).to_have_text("")


async def test_a_vote_that_waits_because_it_was_too_fast_keeps_that_reason(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_010)
    await widget.like.click()
    react = await scripted.receive("react")
    scripted.say("error", code="rate_limited", message="slow", item="a", ref=react["ref"], retry_after=20)
    await expect(widget.status).to_have_text("Too fast. Your vote is kept.")
    await page.clock.run_for(10_000)
    await expect(widget.status).to_have_text("Too fast. Your vote is kept.")
