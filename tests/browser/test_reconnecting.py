"""The widget after a break of its connection: what it says again, what it looks up, when it gives up."""

from playwright.async_api import expect

from tests.browser.test_widget_and_contract import reconnected, voted

from .script import ORIGIN, ScriptedServer
from .tabs import event


async def test_a_reconnect_says_what_is_shown_and_who_i_am(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    await reconnected(scripted)

    assert (await scripted.receive("auth"))["token"] == "token-1"
    watch = await scripted.receive("watch")
    assert watch["items"] == ["a"]
    assert watch["since"] == {"a": 10}

    scripted.say("watching", ref=watch["ref"])  # and no `mine`: another device took the vote back
    await widget.holds(None)
    assert scripted.visitors == 1


async def test_an_unconfirmed_vote_is_sent_again(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    await scripted.receive("react")
    await reconnected(scripted)

    react = await scripted.receive("react")
    assert react["reaction"] == "like"
    scripted.ack(react, 10, like=1, dislike=0)

    await expect(widget.status).to_have_text("Your vote: Like.")
    await widget.shows(like=1, dislike=0)


async def test_only_the_last_reaction_is_sent_after_a_break(scripted: ScriptedServer) -> None:
    widget = await voted(scripted)
    await scripted.close()
    await widget.like.click()
    await widget.dislike.click()
    await scripted.connection()

    assert (await scripted.receive("react"))["reaction"] == "dislike"


async def test_a_vote_that_may_have_been_stored_is_looked_up(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    react = await scripted.receive("react")
    scripted.say("error", code="unavailable", message="not confirmed in time", item="a", ref=react["ref"])

    watch = await scripted.receive("watch")
    scripted.counts("a", 10, like=1, dislike=0)
    scripted.say("mine", item="a", version=10, reaction="like")
    scripted.say("watching", ref=watch["ref"])

    await widget.holds("like")
    await widget.shows(like=1, dislike=0)


async def test_a_server_that_cannot_look_me_up_does_not_ask_to_sign_in(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await widget.like.click()
    for wait in (0.5, 0.6):
        auth, react = await scripted.receive("auth"), await scripted.receive("react")
        assert auth["token"] == "token-1", "the token is good"
        scripted.say("error", code="unavailable", message="not now", ref=auth["ref"], retry_after=wait)
        scripted.say(
            "error", code="unauthorized", message="who?", item="a", ref=react["ref"], retry_after=wait
        )

    await widget.shows(like=0, dislike=0)
    await widget.holds(None)
    await expect(widget.status).to_have_text("Not saved. Try again.")
    await scripted.receive("auth")
    await widget.like.click()
    scripted.ack(await scripted.receive("react"), 10, like=1, dislike=0)
    await widget.holds("like")
    assert scripted.visitors == 1


async def test_a_page_that_is_not_welcome_does_not_insist(scripted: ScriptedServer) -> None:
    widget = await scripted.open()
    await scripted.page.clock.install()
    await scripted.close(4503)
    await widget.is_stale(True)

    await scripted.page.clock.run_for(60_000)

    assert scripted.unanswered_connections == 0
    await widget.like.click()
    await expect(widget.status).to_have_text("Not open to votes.")
    await widget.holds(None)
    join = "document.body.append(Object.assign(document.createElement('live-reactions'), { id: 'late' }))"
    answer = await event(scripted.page, "tallycast:error", lambda: scripted.page.evaluate(f"void {join}"))
    assert (answer["code"], answer["message"]) == ("forbidden", "code 4503"), (
        "a page that comes later gets it too"
    )
    assert answer["item"] == f"{ORIGIN}/host"


async def test_bye_is_waited_out(scripted: ScriptedServer) -> None:
    await scripted.page.clock.install()
    widget = await scripted.open()
    scripted.say("bye", retry_after=9)
    await scripted.close(1012)
    await widget.is_stale(True)

    await scripted.page.clock.run_for(8_000)
    assert scripted.unanswered_connections == 0
    await scripted.page.clock.run_for(1_200)
    await scripted.connection()


async def test_silence_is_taken_for_death(scripted: ScriptedServer) -> None:
    await scripted.page.clock.install()
    widget = await scripted.open()
    await scripted.page.clock.run_for(30_000)
    scripted.say("beat")
    scripted.counts("a", 1, like=1, dislike=0)
    await widget.shows(like=1, dislike=0)
    await scripted.page.clock.run_for(30_000)
    await widget.is_stale(False)

    await scripted.page.clock.run_for(6_100)

    await scripted.connection()
