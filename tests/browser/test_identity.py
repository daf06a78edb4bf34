"""Who the person is: a token for a server and a site, made late, kept, renewed, handed over to a user."""

from __future__ import annotations

import json

import jwt
from playwright.async_api import Route, expect

from .script import ORIGIN, ScriptedServer
from .tabs import NewTab, Server, Widget, event, fresh_item

KEY = f"tallycast:{ORIGIN}:default"


async def voted(scripted: ScriptedServer) -> Widget:
    widget = await scripted.open()
    await widget.like.click()
    await scripted.receive("auth")
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")
    return widget


async def test_a_pass_is_kept_for_each_server_and_site(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.event("tallycast:react", tab.widget.like.click)
    kept = await tab.page.evaluate("key => JSON.parse(localStorage[key])", f"tallycast:{server.url}:default")
    assert sorted(kept) == ["renew", "token"]
    expires = jwt.decode(kept["token"], options={"verify_signature": False})["exp"]
    now = await tab.page.evaluate("Date.now() / 1000")
    assert abs((expires - kept["renew"] / 1000) - (expires - now) / 3) < 60


async def test_blocked_storage_is_a_visitor_for_this_page_view(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.page.add_init_script(
        """Object.defineProperty(window, 'localStorage', {
          get() { throw new DOMException('no', 'SecurityError'); },
        });"""
    )
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    await tab.event("tallycast:react", tab.widget.like.click)
    await tab.event("tallycast:react", tab.widget.dislike.click)
    await tab.widget.shows(like=0, dislike=1)  # the same person, both times
    await tab.page.reload()
    await tab.widget.shows(like=0, dislike=1)
    await tab.widget.holds(None)


async def test_spoilt_storage_does_no_harm(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await tab.visit(server, f'<live-reactions item="{fresh_item()}"></live-reactions>')
    for spoilt in ("{", "null", "3", '"x"', "[]", '{"token":""}'):
        await tab.page.evaluate(
            "([key, value]) => { localStorage[key] = localStorage[key + ':wishes'] = value; }",
            [f"tallycast:{server.url}:default", spoilt],
        )
        await tab.page.reload()
        await tab.event("tallycast:react", tab.widget.like.click)


async def test_two_tabs_that_vote_at_once_are_one_person(scripted: ScriptedServer) -> None:
    """The other tab's visitor is there first: this one's is dropped."""
    page = scripted.page
    widget = await scripted.open()

    async def answer(route: object) -> None:
        await page.evaluate(
            "key => { localStorage[key] = JSON.stringify({ token: 'other', renew: 4e12 }); }",
            KEY,
        )
        await route.fulfill(  # type: ignore[attr-defined]
            status=201, json={"visitor": "a:mine", "token": "mine", "expires": 4_000_000_000}
        )

    await page.route("**/v1/visitors*", answer)
    await widget.like.click()
    assert (await scripted.receive("auth"))["token"] == "other"
    assert json.loads(await page.evaluate("key => localStorage[key]", KEY))["token"] == "other"


async def test_a_pass_from_another_tab_is_taken_up(scripted: ScriptedServer) -> None:
    await scripted.open()
    other = await scripted.page.context.new_page()
    await other.route(f"{ORIGIN}/empty", lambda route: route.fulfill(body="", content_type="text/html"))
    await other.goto(f"{ORIGIN}/empty")
    await other.evaluate(
        "key => { localStorage[key] = JSON.stringify({ token: 'other', renew: 4e12 }); }", KEY
    )
    assert (await scripted.receive("auth"))["token"] == "other"


async def test_a_vote_that_is_not_known_is_sent_once_more(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    await widget.dislike.click()
    react = await scripted.receive("react")
    scripted.say("error", code="unauthorized", message="expired", item="a", ref=react["ref"])

    assert (await scripted.receive("auth"))["token"] == "token-2"
    again = await scripted.receive("react")
    assert again["reaction"] == "dislike"
    await widget.holds("dislike")
    scripted.say("error", code="unauthorized", message="expired", item="a", ref=again["ref"])

    await expect(widget.status).to_have_text("Sign in to vote.")
    await widget.holds("like")


async def test_a_server_that_takes_no_token_is_not_asked_for_ever(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    for _ in range(4):
        auth = await scripted.receive("auth")
        scripted.say("error", code="unauthorized", message="no", ref=auth["ref"])
    scripted.say("counts", item="a", version=9, counts={"like": 7, "dislike": 0})
    await expect(widget.like).to_have_text("8")
    assert scripted.visitors == 4


async def test_a_publishers_function_is_asked_again(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await scripted.page.evaluate("() => { let n = 0; tallycast.auth(() => `user-${++n}`); }")
    assert (await scripted.receive("auth"))["token"] == "user-1"
    scripted.say("error", code="unauthorized", message="expired")
    assert (await scripted.receive("auth"))["token"] == "user-2"
    await widget.like.click()
    await scripted.receive("react")
    assert scripted.visitors == 0
    assert await scripted.page.evaluate("JSON.stringify(localStorage)") == "{}", "kept in memory only"


async def test_a_publishers_function_may_fail_with_anything(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    failed: list[str] = []
    scripted.page.on("pageerror", lambda error: failed.append(str(error)))
    await scripted.page.evaluate(
        "addEventListener('tallycast:error', ({ detail }) => { window.reported = detail.code; });"
        "tallycast.auth(() => Promise.reject())"
    )
    await widget.like.click()
    await expect(widget.status).to_have_text("Not saved. Try again.")
    await widget.holds(None)
    assert await scripted.page.evaluate("reported") == "unavailable"
    assert failed == []


async def test_an_answer_that_comes_late_speaks_for_nobody(scripted: ScriptedServer) -> None:
    """Ann's token was still on its way when Bob signed in: he must not vote as Ann, nor wait for her."""
    widget = await scripted.open()
    await scripted.page.evaluate(
        "tallycast.auth(() => new Promise(tell => { window.tell = tell; }));"
        "setTimeout(() => tallycast.auth('bob'))"
    )
    assert (await scripted.receive("auth"))["token"] == "bob"
    await scripted.page.evaluate("tell('ann')")
    scripted.say("error", code="unauthorized", message="expired")
    assert (await scripted.receive("auth"))["token"] == "bob"
    await widget.like.click()
    await scripted.receive("react")


async def test_a_publishers_token_before_there_is_a_connection(scripted: ScriptedServer) -> None:
    await scripted.page.add_init_script(
        "customElements.whenDefined('live-reactions').then(() => tallycast.auth('user'))"
    )
    await scripted.page.evaluate("0")
    await scripted.open()
    assert (await scripted.receive("auth"))["token"] == "user"


async def test_who_is_not_signed_in_is_told_so(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await scripted.page.evaluate("tallycast.auth(async () => '')")
    await widget.like.click()
    await expect(widget.status).to_have_text("Sign in to vote.")
    await widget.holds(None)


async def test_signing_out_is_a_new_connection(scripted: ScriptedServer) -> None:
    await scripted.open()
    await scripted.page.evaluate("tallycast.auth('user')")
    await scripted.receive("auth")
    await scripted.page.evaluate("tallycast.auth(null)")
    await scripted.connection()
    assert (await scripted.receive("watch"))["items"] == ["a"]


async def test_anonymous_votes_go_over_to_the_user(scripted: ScriptedServer) -> None:
    await voted(scripted)
    await scripted.page.evaluate("tallycast.auth('user')")
    auth = await scripted.receive("auth")
    assert (auth["token"], auth["merge"]) == ("user", "token-1")
    scripted.say("mine", item="a", version=11, reaction="like")
    scripted.say("ready", visitor="u:1", ref=auth["ref"])
    await scripted.page.wait_for_function("key => !JSON.parse(localStorage[key])", arg=KEY)

    await scripted.close(1012)
    await scripted.connection()
    again = await scripted.receive("auth")
    assert "merge" not in again


async def test_a_server_that_cannot_merge_is_asked_without(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    await scripted.page.evaluate("tallycast.auth('user')")
    auth = await scripted.receive("auth")
    scripted.say("error", code="forbidden", message="not here", ref=auth["ref"])
    again = await scripted.receive("auth")
    assert again["token"] == "user"
    assert "merge" not in again
    scripted.say("ready", visitor="u:1", ref=again["ref"])
    await widget.holds(None)
    assert await scripted.page.evaluate("key => JSON.parse(localStorage[key]).token", KEY) == "token-1"
    await widget.like.click()
    await scripted.receive("react")


async def test_without_a_token_for_want_of_a_server_the_vote_is_kept(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.clock.install()
    widget = await scripted.open()
    await page.route("**/v1/visitors*", lambda route: route.abort())
    await widget.like.click()
    await widget.shows(like=1, dislike=0)
    await page.unroute("**/v1/visitors*")
    await scripted.install_visitors()
    await page.clock.run_for(5_100)
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")


async def test_a_refused_visitor_is_told(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    problem = {"code": "forbidden", "detail": "no"}
    await scripted.page.route("**/v1/visitors*", lambda route: route.fulfill(status=403, json=problem))
    await widget.like.click()
    await expect(widget.status).to_have_text("Not open to votes.")
    await widget.shows(like=0, dislike=0)
    await widget.holds(None)


async def test_a_visitor_who_came_too_fast_waits_and_votes(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.clock.install(time=1_000_000)
    widget = await scripted.open()
    await page.clock.pause_at(1_000_020)
    asked = 0

    async def too_fast(route: Route) -> None:
        nonlocal asked
        asked += 1
        problem = {"code": "rate_limited", "detail": "too many"}
        await route.fulfill(status=429, json=problem, headers={"Retry-After": "7"})

    await page.route("**/v1/visitors*", too_fast)
    reply = await event(page, "tallycast:error", widget.like.click)
    assert (reply["code"], reply["message"], reply["retry_after"]) == ("rate_limited", "too many", 7)
    await expect(widget.status).to_have_text("Too fast. Your vote is kept.")
    await widget.holds("like")
    await page.clock.run_for(6_900)
    assert asked == 1
    await page.unroute("**/v1/visitors*")
    await scripted.install_visitors()
    await page.clock.run_for(200)
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await expect(widget.status).to_have_text("Your vote: Like.")
