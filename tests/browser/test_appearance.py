"""How an element looks and reads: languages, numbers, kinds, themes, and what axe has to say about it all."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from .script import ORIGIN, ScriptedServer
from .tabs import SCHEMES, Scheme, Widget, host

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
PAGE = (
    '<meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width">'
    "<style>html { background: Canvas; color: CanvasText }</style>"  # axe takes a page without one for white
    '<script src="/embed.js" async></script>'
)


async def show(
    scripted: ScriptedServer, counts: dict[str, int], attributes: str = "", lang: str = "en"
) -> Widget:
    """A page with one element that shows these counts."""
    element = f'<live-reactions item="a" {attributes}></live-reactions>'
    body = f'<main lang="{lang}"><h1>A page</h1><p>{element}</p></main>'
    await host(scripted.page, ORIGIN, body, "", PAGE)
    await scripted.connection()
    watch = await scripted.receive("watch")
    scripted.say("counts", item="a", version=1, counts=counts)
    scripted.say("watching", ref=watch["ref"])
    widget = Widget(scripted.page.locator("live-reactions"))
    await expect(widget.element.get_by_role("button")).to_have_count(len(counts))
    await widget.is_stale(False)
    return widget


async def violations(page: Page) -> list[Any]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    found: list[Any] = await page.evaluate(
        """() => axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
          [id, ...nodes.map(({ html, failureSummary }) => [html, failureSummary])]))"""
    )
    return found


async def test_axe_finds_nothing(scripted: ScriptedServer) -> None:
    """In any state: fresh, pressed, confirmed, refused, out of date, readonly; in any theme, also its own."""
    page = scripted.page
    widget = await show(scripted, {"like": 12, "dislike": 3})

    async def found() -> list[Any]:
        found = []
        for scheme, theme in [("light", "auto"), ("dark", "auto"), ("light", "dark"), ("dark", "light")]:
            await page.emulate_media(color_scheme=scheme)
            await widget.element.evaluate("(element, theme) => element.setAttribute('theme', theme)", theme)
            found += [(scheme, theme, one) for one in await violations(page)]
        return found

    assert await found() == []

    for kind, button in (("like", widget.like), ("dislike", widget.dislike)):
        await button.click()
        await widget.holds(kind)
        react = await scripted.receive("react")
        assert await found() == []
        scripted.ack(react, 2, like=12, dislike=3)
        await expect(widget.status).to_contain_text("Your vote:")
        assert await found() == []

    await widget.like.click()
    react = await scripted.receive("react")
    scripted.say("error", code="rate_limited", message="slow down", item="a", ref=react["ref"])
    await expect(widget.status).to_contain_text("Too fast")
    assert await found() == []

    await scripted.close(4503)
    await widget.is_stale(True)
    assert await found() == []
    await widget.element.evaluate("element => element.setAttribute('readonly', '')")
    await expect(widget.like).to_be_disabled()
    assert await found() == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_axe_finds_nothing_in_other_kinds(scripted: ScriptedServer, scheme: Scheme) -> None:
    await scripted.page.emulate_media(color_scheme=scheme)
    widget = await show(scripted, {"love": 2, "🎉": 1, "like": 4}, 'label-love="Love it"')
    await widget.element.get_by_role("button", name="Love it").click()
    await expect(widget.element.get_by_role("button", name="Love it")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert await violations(scripted.page) == []


async def test_other_kinds_are_a_row_of_buttons(scripted: ScriptedServer) -> None:
    counts = {"love": 2, "🎉": 1, "very good": 4, "wow": 0}
    widget = await show(scripted, counts, 'label-love="Love it" label-wow="😮"')
    buttons = widget.element.get_by_role("button")
    for index, name in enumerate(["Love it", "🎉", "Very good", "😮"]):
        await expect(buttons.nth(index)).to_have_accessible_name(name)
    await expect(buttons.nth(0)).to_contain_text("Love it")
    await expect(buttons.nth(0)).to_have_accessible_description("2")
    await expect(widget.element.locator("[part=bar]")).to_be_hidden()

    await buttons.nth(2).click()
    react = await scripted.receive("react")
    assert react["reaction"] == "very good"
    await expect(buttons.nth(2)).to_have_accessible_description("5")
    await widget.element.evaluate("element => element.setAttribute('label-love', 'Adore')")
    await expect(buttons.nth(0)).to_contain_text("Adore")
    await expect(buttons.nth(0)).to_have_accessible_name("Adore")


async def test_a_kind_may_be_called_like_a_part(scripted: ScriptedServer) -> None:
    widget = await show(scripted, {"wow": 2, "bar": 1, "count": 4})
    looks = """all => all.map((button) => {
      const { margin, backgroundColor, minWidth } = getComputedStyle(button);
      return [margin, backgroundColor, minWidth].join();
    })"""
    assert len(set(await widget.element.get_by_role("button").evaluate_all(looks))) == 1


NUMBERS = [
    ("compact", "en", 999, "999"),
    ("compact", "en", 1_250, "1.2K"),
    ("compact", "en", 1_290, "1.2K"),
    ("compact", "en", 999_950, "999K"),
    ("compact", "de", 1_299_999, "1,2 Mio."),
    ("full", "en", 999_950, "999,950"),
    ("full", "de", 999_950, "999.950"),
    ("full", "fr-CH", 1_234, "1 234"),
    ("full", "ar-EG", 1_234, "١٬٢٣٤"),
    ("full", "not_a_language", 1_235, "1,235"),
    ("full", "", 1_236, "1,236"),
]


async def test_numbers(scripted: ScriptedServer) -> None:
    """In the language of the page, or of the element."""
    widget = await show(scripted, {"like": 0, "dislike": 0})
    version = 1
    for place, (style, lang, count, text) in itertools.product(["page", "element"], NUMBERS):
        version += 1
        await widget.element.evaluate(
            """(element, [place, style, lang]) => {
              (place === 'page' ? element.closest('main') : element).setAttribute('lang', lang);
              element.setAttribute('format', style);
            }""",
            [place, style, lang],
        )
        scripted.say("counts", item="a", version=version, counts={"like": count, "dislike": 0})
        await expect(widget.like).to_have_text(
            re.compile(f"^{re.escape(text).replace(chr(92) + ' ', chr(92) + 's')}$")
        )


async def test_the_format_and_the_language_may_change(scripted: ScriptedServer) -> None:
    widget = await show(scripted, {"like": 12_345, "dislike": 0})
    await expect(widget.like).to_have_text("12K")
    await widget.element.evaluate("element => element.setAttribute('format', 'full')")
    await expect(widget.like).to_have_text("12,345")
    await widget.element.evaluate("element => { element.lang = 'de'; }")
    await expect(widget.like).to_have_text("12.345")


async def test_right_to_left(scripted: ScriptedServer) -> None:
    widget = await show(scripted, {"like": 3, "dislike": 1}, 'dir="rtl"')
    like, dislike = await widget.like.bounding_box(), await widget.dislike.bounding_box()
    bar, share = [await widget.element.locator(where).bounding_box() for where in ("[part=bar]", "i")]
    assert like is not None
    assert dislike is not None
    assert bar is not None
    assert share is not None
    assert like["x"] > dislike["x"]
    assert share["x"] + share["width"] == pytest.approx(bar["x"] + bar["width"], abs=1)
    assert share["width"] == pytest.approx(bar["width"] * 3 / 4, abs=1)


async def test_dislikes_may_be_hidden(scripted: ScriptedServer) -> None:
    widget = await show(scripted, {"like": 3, "dislike": 1}, "hide-dislikes")
    await expect(widget.dislike).to_be_visible()
    await expect(widget.dislike.locator("[part=count]")).to_be_hidden()
    await expect(widget.element.locator("[part=bar]")).to_be_hidden()
    await expect(widget.like.locator("[part=count]")).to_be_visible()
    # Nor is it told: what describes a button is read from what is hidden, too.
    await expect(widget.dislike).to_have_accessible_description("")
    await expect(widget.like).to_have_accessible_description("3")


@pytest.mark.parametrize("kinds", [2, 12])
async def test_it_fits(scripted: ScriptedServer, kinds: int) -> None:
    page = scripted.page
    names = ["like", "dislike"] if kinds == 2 else [f"reaction {n}" for n in range(kinds)]
    widget = await show(scripted, dict.fromkeys(names, 123_456), 'format="full"')
    await widget.element.get_by_role("button").first.click()
    react = await scripted.receive("react")
    scripted.say("error", code="unavailable", message="", item="a", ref=react["ref"])
    await expect(widget.status).to_be_visible()
    buttons = widget.element.get_by_role("button")
    for width in (280, 900):
        await page.set_viewport_size({"width": width, "height": 600})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        heights = await buttons.evaluate_all("all => all.map((b) => b.offsetHeight)")
        assert len(set(heights)) == 1
        assert heights[0] >= 40


async def test_themes(scripted: ScriptedServer) -> None:
    """The page's own colours unless it asks for others; its properties and parts have the last word."""
    page = scripted.page
    widget = await show(scripted, {"like": 3, "dislike": 1})
    colour = "element => getComputedStyle(element).color"
    await page.add_style_tag(content="main { color: rgb(1, 2, 3) }")
    await expect(widget.like).to_have_css("color", "rgb(1, 2, 3)")
    for theme, light in (("light", False), ("dark", True)):
        await widget.element.evaluate("(element, theme) => element.setAttribute('theme', theme)", theme)
        rgb = (await widget.like.evaluate(colour)).removeprefix("rgb(").removesuffix(")").split(", ")
        assert (sum(map(int, rgb)) > 380) is light

    await page.add_style_tag(
        content="live-reactions { --tallycast-like: rgb(9, 8, 7); --tallycast-surface: rgb(4, 5, 6) } "
        "live-reactions::part(like) { letter-spacing: 3px } live-reactions::part(count) { text-indent: 1px } "
        "live-reactions::part(bar) { margin-top: 9px } live-reactions:state(stale) { outline: 1px solid }"
    )
    await expect(widget.dislike).to_have_css("background-color", "rgb(4, 5, 6)")
    await expect(widget.like).to_have_css("letter-spacing", "3px")
    await expect(widget.like.locator("[part=count]")).to_have_css("text-indent", "1px")
    await expect(widget.element.locator("[part=bar]")).to_have_css("margin-top", "9px")
    await widget.like.click()
    await expect(widget.like).to_have_css("color", "rgb(9, 8, 7)")


async def test_the_scheme_of_the_page(scripted: ScriptedServer) -> None:
    widget = await show(scripted, {"like": 3, "dislike": 1})
    await widget.like.click()
    colours = []
    for scheme in SCHEMES:
        await scripted.page.emulate_media(color_scheme=scheme)
        colours.append(await widget.like.evaluate("button => getComputedStyle(button).color"))
    assert len(set(colours)) == 2


async def test_forced_colours(scripted: ScriptedServer) -> None:
    page = scripted.page
    await page.emulate_media(forced_colors="active")
    widget = await show(scripted, {"like": 3, "dislike": 1})
    await widget.like.click()
    pressed, other = [
        await button.evaluate("button => getComputedStyle(button).backgroundColor")
        for button in (widget.like, widget.dislike)
    ]
    assert pressed != other
    for button in (widget.like, widget.dislike):
        assert await button.evaluate("button => getComputedStyle(button).borderTopWidth") == "1px"
    assert (
        await widget.element.locator("i").evaluate("bar => getComputedStyle(bar).borderTopStyle") == "solid"
    )


async def test_what_a_screen_reader_hears(scripted: ScriptedServer) -> None:
    """One's own vote, once; never a count."""
    widget = await show(scripted, {"like": 3, "dislike": 1}, 'label-like="Gefällt mir"')
    live = widget.element.locator("[aria-live], [role=status], [role=alert], [role=log]")
    await expect(live).to_have_count(1)
    said = await widget.element.evaluate_handle(
        """element => {
          const said = [];
          const status = element.shadowRoot.querySelector('[role=status]');
          new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
          return said;
        }"""
    )
    button = widget.element.get_by_role("button", name="Gefällt mir")
    await button.click()
    react = await scripted.receive("react")
    scripted.counts("a", 2, like=4, dislike=1)
    scripted.ack(react, 2, like=4, dislike=1)
    scripted.counts("a", 3, like=9, dislike=1)
    await expect(button).to_have_text("9")
    await expect(button).to_have_accessible_name("Gefällt mir")
    await expect(button).to_have_attribute("aria-pressed", "true")
    assert await said.json_value() == ["Your vote: Gefällt mir."]


WORDS = {
    "group": "Reaktionen",
    "vote": "Sie haben mit „*“ gestimmt.",
    "none": "Sie haben keine Stimme mehr.",
    "rate_limited": "Zu schnell.",
    "unauthorized": "Melden Sie sich an.",
    "forbidden": "Geschlossen.",
    "error": "Nicht gespeichert.",
    "offline": "Keine Verbindung.",
}


async def test_a_page_in_another_language_says_everything_itself(scripted: ScriptedServer) -> None:
    """`lang` changes how numbers are written; words are the page's, each by an attribute."""
    attributes = " ".join(f'text-{name}="{text}"' for name, text in WORDS.items())
    widget = await show(scripted, {"like": 1_234, "dislike": 0}, f'label-like="$&" {attributes}', "de")
    element, status = widget.element, widget.status
    await expect(element.get_by_role("group", name=WORDS["group"], exact=True)).to_be_visible()
    button = element.get_by_role("button", name="$&", exact=True)
    version = 2
    for reaction, said in (("like", "Sie haben mit „$&“ gestimmt."), (None, WORDS["none"])):
        await button.click()
        react = await scripted.receive("react")
        assert react["reaction"] == reaction
        version += 1
        scripted.ack(react, version, like=1_235 if reaction else 1_234, dislike=0)
        await expect(status).to_have_text(said)
    for code in ("unavailable", "forbidden", "bad_reaction"):
        await button.click()
        react = await scripted.receive("react")
        scripted.say("error", code=code, message="no", item="a", ref=react["ref"])
        await expect(status).to_have_text(WORDS.get(code, WORDS["error"]))
    await element.evaluate("element => element.setAttribute('text-unavailable', 'Gerade nicht.')")
    await button.click()
    react = await scripted.receive("react")
    scripted.say("error", code="unavailable", message="no", item="a", ref=react["ref"])
    await expect(status).to_have_text("Gerade nicht.")
    await button.click()
    react = await scripted.receive("react")
    scripted.say("error", code="rate_limited", message="no", item="a", ref=react["ref"], retry_after=300)
    await expect(status).to_have_text(WORDS["rate_limited"])
    await scripted.close(1011)
    await widget.is_stale(True)
    await button.click()
    await expect(status).to_have_text(WORDS["offline"])
    await element.evaluate("element => element.setAttribute('text-group', 'Stimmen')")
    await expect(element.get_by_role("group", name="Stimmen", exact=True)).to_be_visible()
    assert await violations(scripted.page) == []
