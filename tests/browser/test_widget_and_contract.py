"""The widget's side of the contract, against a server that the test plays itself."""

import functools
import json

from playwright.async_api import JSHandle, expect

from .script import ORIGIN, ScriptedServer
from .tabs import Widget, event

KEY = f"tallycast:{ORIGIN}:default"


async def voted(scripted: ScriptedServer) -> Widget:
    """A widget whose person likes item `a`, as of version 10."""
    widget = await scripted.open()
    await widget.like.click()
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")
    return widget


async def everything_shown(scripted: ScriptedServer) -> JSHandle:
    """Every pair of counts that the page shows from here on, be it for a moment."""
    return await scripted.page.evaluate_handle(
        """() => {
          const seen = [];
          document.addEventListener('tallycast:change', ({ detail: { counts } }) =>
            seen.push(`${counts.like}:${counts.dislike}`));
          return seen;
        }"""
    )


async def reconnected(scripted: ScriptedServer) -> None:
    """Break the connection, and wait for the next."""
    await scripted.close(1012)
    await scripted.connection()


async def test_a_click_shows_at_once_and_is_undone_by_an_error(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    await widget.shows(like=1, dislike=0)
    await widget.holds("like")
    react = await scripted.receive("react")
    await expect(widget.status).to_be_empty()  # not confirmed, not announced

    scripted.say("error", code="unavailable", message="not now", item="a", ref=react["ref"], retry_after=2)

    await widget.shows(like=0, dislike=0)
    await widget.holds(None)
    await expect(widget.status).to_have_text("Not saved. Try again.")


async def test_a_vote_that_came_too_fast_is_kept_and_sent_when_it_may(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    await page.clock.pause_at(1_000_020)

    refusal = {"code": "rate_limited", "message": "slow down", "item": "a", "ref": react["ref"]}
    answer = await event(page, "tallycast:error", lambda: said(scripted, **refusal, retry_after=3))

    assert (answer["code"], answer["retry_after"]) == ("rate_limited", 3)
    await expect(widget.status).to_have_text("Too fast. Your vote is kept.")
    await widget.shows(like=1, dislike=0)
    await widget.holds("like")
    await page.clock.run_for(2_900)
    assert scripted.unread == []
    await page.clock.run_for(200)
    again = await scripted.receive("react")
    assert (again["reaction"], again["ref"] > react["ref"]) == ("like", True)
    scripted.ack(again, 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")


async def test_a_vote_does_not_wait_for_days(scripted: ScriptedServer) -> None:
    """Whatever was asked for, it is sent after five minutes: by then the limit may be mended."""
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    await page.clock.pause_at(1_000_020)
    for asked in (86_400, 10_000_000):
        refusal = {"code": "rate_limited", "message": "slow down", "item": "a", "ref": react["ref"]}
        limited = functools.partial(said, scripted, **refusal, retry_after=asked)
        await event(page, "tallycast:error", limited)
        for _ in range(11):
            await page.clock.run_for(27_000)
            await scripted.beat()
        assert scripted.unread == []
        await page.clock.run_for(4_000)
        react = await scripted.receive("react")
        assert react["reaction"] == "like"


async def said(scripted: ScriptedServer, **error: object) -> None:
    scripted.say("error", **error)


async def test_messages_of_a_later_server_are_ignored(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    scripted.say("forecast", item="a", version=90, counts={"like": 9, "dislike": 9}, reaction="like")
    scripted.counts("a", 1, like=1, dislike=0)
    await widget.shows(like=1, dislike=0)
    await widget.holds(None)


async def test_a_token_that_ends_is_no_matter_of_what_nobody_sees(scripted: ScriptedServer) -> None:
    """An error without `ref` answers nothing: items that were never watched stay so."""
    page = scripted.page
    await scripted.open()
    await page.evaluate(
        """() => {
          window.reported = [];
          document.addEventListener('tallycast:error', ({ detail }) => reported.push(detail.item));
          for (const item of ['far', 'farther']) {
            const space = document.createElement('p');
            space.style.height = '5000px';
            const element = document.createElement('live-reactions');
            element.setAttribute('item', item);
            document.body.append(space, element);
          }
        }"""
    )
    scripted.say("error", code="unauthorized", message="the token has expired")
    scripted.counts("a", 1, like=1, dislike=0)
    await Widget(page.locator("live-reactions").first).shows(like=1, dislike=0)
    assert scripted.unread == []
    assert await page.evaluate("reported") == []


async def test_my_own_vote_is_never_counted_twice(scripted: ScriptedServer) -> None:
    """The feed may be quicker than the ack, and nothing in it says whose vote it carries."""
    widget = await scripted.open()
    seen = await everything_shown(scripted)
    await widget.like.click()
    react = await scripted.receive("react")

    scripted.counts("a", 10, like=1, dislike=0)
    scripted.counts("a", 11, like=2, dislike=0)
    scripted.ack(react, 10, like=1, dislike=0)

    await widget.shows(like=2, dislike=0)
    assert await seen.json_value() == ["1:0", "2:0"]


async def test_a_slow_ack_does_not_stop_the_counts(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.dislike.click()
    await scripted.receive("react")

    scripted.counts("a", 10, like=7, dislike=0)

    await widget.shows(like=7, dislike=1)


async def test_ready_is_dispatched_once_with_what_i_hold(scripted: ScriptedServer) -> None:
    """Counts and `mine` are two messages: no event in between, also when an element is put back."""
    page = scripted.page
    widget = await voted(scripted)
    answer = await page.evaluate_handle(
        """() => {
          const reported = [];
          for (const name of ['ready', 'change']) document.addEventListener('tallycast:' + name,
            ({ detail: { counts, reaction } }) => reported.push([name, counts.like, reaction]));
          window.element = document.querySelector('live-reactions');
          const given = Object.assign(document.createElement('data'), { value: 5 });
          given.dataset.kind = 'like';
          element.append(given);
          element.remove();
          return reported;
        }"""
    )
    await scripted.receive("unwatch")
    await page.evaluate("document.body.append(element)")
    watch = await scripted.receive("watch")
    scripted.counts("a", 10, like=1, dislike=0)
    await widget.shows(like=1, dislike=0)
    scripted.say("mine", item="a", version=10, reaction="like")
    await widget.holds("like")
    scripted.say("watching", ref=watch["ref"])
    scripted.counts("a", 11, like=2, dislike=0)
    await widget.shows(like=2, dislike=0)
    assert await answer.json_value() == [["ready", 1, "like"], ["change", 2, "like"]]


async def test_who_holds_nothing_is_ready_too(scripted: ScriptedServer) -> None:
    """Also when the watch was refused for the moment, which stands: its snapshot comes later."""
    page = scripted.page
    await page.add_init_script(
        """window.reported = [];
        document.addEventListener('tallycast:ready', ({ detail }) => reported.push(detail.item));"""
    )
    await scripted.open()
    assert await page.evaluate("reported") == ["a"]
    await page.evaluate("document.querySelector('live-reactions').setAttribute('item', 'b')")
    watch = await scripted.receive("watch")
    scripted.say("error", code="unavailable", message="not now", ref=watch["ref"])
    scripted.counts("b", 3, like=3, dislike=0)
    await Widget(page.locator("live-reactions")).shows(like=3, dislike=0)
    assert await page.evaluate("reported") == ["a", "b"]


async def test_the_highest_version_wins(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    seen = await everything_shown(scripted)
    scripted.counts("a", 20, like=5, dislike=0)
    scripted.counts("a", 19, like=4, dislike=0)
    scripted.counts("a", 20, like=9, dislike=9)
    scripted.counts("b", 99, like=8, dislike=8)  # not asked for
    scripted.say("weather", sunny=True)  # an addition of a later day
    scripted.counts("a", 21, like=5, dislike=1)

    await widget.shows(like=5, dislike=1)
    assert await seen.json_value() == ["5:0", "5:1"]


async def test_an_old_mine_is_ignored(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    scripted.say("mine", item="a", version=9, reaction=None)
    scripted.counts("a", 11, like=1, dislike=1)
    await widget.shows(like=1, dislike=1)
    await widget.holds("like")

    scripted.say("mine", item="a", version=12, reaction="dislike")
    await widget.holds("dislike")


async def test_a_reset_is_accepted(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    scripted.counts("a", 5, like=0, dislike=1, reset=True)

    await widget.shows(like=0, dislike=1)
    watch = await scripted.receive("watch")  # what I held is not sure any more: a watch says it for certain
    assert watch["since"] == {"a": 5}
    scripted.say("mine", item="a", version=5, reaction="dislike")
    scripted.say("watching", ref=watch["ref"])
    await widget.holds("dislike")
    scripted.counts("a", 6, like=3, dislike=1)
    await widget.shows(like=3, dislike=1)


async def test_a_token_that_ends_is_renewed_and_the_vote_goes_through(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    scripted.say("error", code="unauthorized", message="the token has expired")

    assert (await scripted.receive("auth"))["token"] == "token-2"
    assert scripted.bearers == [None, "Bearer token-1"]  # the same person, not a second one
    await widget.dislike.click()
    scripted.ack(await scripted.receive("react"), 12, like=0, dislike=1)
    await widget.holds("dislike")


async def test_a_token_near_its_end_is_renewed_at_once(scripted: ScriptedServer) -> None:
    await voted(scripted)
    await scripted.page.evaluate(
        "key => { localStorage[key] = JSON.stringify({ ...JSON.parse(localStorage[key]), renew: 1 }); }", KEY
    )
    await scripted.page.reload()
    await scripted.connection()

    assert (await scripted.receive("auth"))["token"] == "token-1"  # good for now
    assert (await scripted.receive("auth"))["token"] == "token-2"
    stored = await scripted.page.evaluate("key => localStorage[key]", KEY)
    assert json.loads(stored)["token"] == "token-2"


async def test_one_bad_item_does_not_cost_the_others_theirs(scripted: ScriptedServer) -> None:
    await scripted.open()
    await scripted.page.evaluate(
        """() => {
          for (const item of ['b', 'c']) {
            document.body.append(Object.assign(document.createElement('live-reactions'), { id: item }));
            document.getElementById(item).setAttribute('item', item);
          }
        }"""
    )
    watch = await scripted.receive("watch")
    assert watch["items"] == ["b", "c"]
    scripted.say("error", code="bad_item", message="no", ref=watch["ref"])

    for item in ("b", "c"):
        assert (await scripted.receive("watch"))["items"] == [item]


async def test_elements_that_leave_are_unwatched(scripted: ScriptedServer) -> None:
    await scripted.open()
    await scripted.page.evaluate("document.querySelector('live-reactions').setAttribute('item', 'z')")

    assert (await scripted.receive("unwatch"))["items"] == ["a"]
    assert (await scripted.receive("watch"))["items"] == ["z"]


async def test_the_publishers_token_is_presented(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await scripted.page.evaluate("tallycast.auth(async () => 'from-the-publisher')")
    assert (await scripted.receive("auth"))["token"] == "from-the-publisher"

    await widget.like.click()
    assert (await scripted.receive("react"))["reaction"] == "like"
    assert scripted.visitors == 0
