"""How an element looks: sizes, colours, what moves and what does not, as each browser computes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeServer

from .tabs import NewTab, Server, Tab, fresh_item, wait_until

# Pages that say which scheme they are for, as the widget's colours depend on that.
PAGE = (
    '<meta name="color-scheme" content="light dark"><style>html { font: 16px/1.5 sans-serif; '
    "background: light-dark(#fff, #16181d); color: light-dark(#1b1e23, #eee) }</style>"
)

# Computed colours over what is behind them, painted by the browser itself; WCAG 2's contrast of two.
CONTRAST = """
const paint = (...layers) => {
  const context = new OffscreenCanvas(1, 1).getContext('2d');
  for (const layer of layers) { context.fillStyle = layer; context.fillRect(0, 0, 1, 1); }
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => rgb.map((value) => value / 255)
  .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
const contrast = (one, other) => {
  const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
};
const page = getComputedStyle(document.documentElement).backgroundColor;
"""
BORDER = f"(button) => {{ {CONTRAST} const style = getComputedStyle(button);" + (
    "return contrast(paint(page, style.borderTopColor), paint(page)); }"
)
TEXT = f"(button) => {{ {CONTRAST} const style = getComputedStyle(button);" + (
    "const ground = paint(page, style.backgroundColor);"
    "return contrast(paint(page, style.backgroundColor, style.color), ground); }"
)
STYLE = "(element, name) => getComputedStyle(element)[name]"


async def show(tab: Tab, server: Server, attributes: str = "", counts: dict[str, int] | None = None) -> None:
    """One element in a line of text. With counts it shows these, and has no server that answers."""
    if counts:
        attributes += ' server="http://127.0.0.1:1"'
    given = "".join(f'<data data-kind="{kind}" value="{n}"></data>' for kind, n in (counts or {}).items())
    item = fresh_item()
    element = f'<live-reactions item="{item}" {attributes}>{given}</live-reactions>'
    await tab.visit(server, f'<p>Text <i id="mark"></i> {element}</p>', head=PAGE)
    await tab.widget().shows(**(counts or {"like": 0, "dislike": 0}))


@pytest.mark.every_browser
async def test_targets_and_contrasts(server: Server, new_tab: NewTab) -> None:
    """44 pixels (WCAG 2.5.5); borders 3:1 (1.4.11); text 4.5:1 (1.4.3); in both schemes, held or not."""
    for dark in (False, True):
        tab = await new_tab(dark=dark)
        await show(tab, server)
        for kind in ("like", "dislike"):
            button = tab.widget().button(kind)
            size = await tab.query(button, "(b) => [b.offsetWidth, b.offsetHeight]")
            assert min(size) >= 44
            assert await tab.query(button, BORDER) >= 3
            await tab.widget().click(kind)
            await tab.widget().holds(kind)
            assert await tab.query(button, TEXT) >= 4.5, (kind, dark)
            assert await tab.query(button, BORDER) >= 3
        await tab.close()


async def test_small_and_large_text(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    for size in ("10px", "40px"):
        await show(tab, server, f'style="--tallycast-size: {size}"')
        height = await tab.query(tab.widget().button("like"), "(b) => b.offsetHeight")
        assert height >= max(44, 1.5 * float(size.removesuffix("px")))


@pytest.mark.every_browser
async def test_nothing_moves_from_9_to_10(server: Server, new_tab: NewTab) -> None:
    """Nor between counts of as many digits, whatever the font."""
    tab = await new_tab()
    await show(tab, server, 'style="--tallycast-font: serif"', {"like": 1, "dislike": 9})
    widths = []
    for count in (1, 8, 9, 10, 11, 88):
        await tab.query("live-reactions data", "(data, count) => { data.value = count; }", count)
        await tab.query("live-reactions", "(e) => e.setAttribute('label-like', e.firstChild.value)")
        await tab.widget().shows(like=count)
        widths.append(await tab.query(tab.widget().button("like"), "(b) => b.getBoundingClientRect().width"))
    assert widths == pytest.approx([widths[0]] * 6, abs=0.1)


@pytest.mark.every_browser
async def test_numbers_stand_on_the_line_of_the_text(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await show(tab, server, counts={"like": 12, "dislike": 3})
    baselines = """() => {
      const mark = document.createElement('span');
      mark.style.cssText = 'display: inline-block; width: 0; height: 0';
      const counts = document.querySelector('live-reactions').shadowRoot.querySelectorAll('[part=count]');
      return [document.querySelector('#mark'), ...counts].map((place) => {
        place.append(mark);
        return mark.getBoundingClientRect().bottom;
      });
    }"""
    text, *numbers = await tab.evaluate(baselines)
    assert numbers == pytest.approx([text, text], abs=1)


async def test_nothing_is_animated(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await show(tab, server)
    animated = await tab.query(
        "live-reactions",
        """({ shadowRoot }) => [...shadowRoot.querySelectorAll('*')]
          .map((element) => getComputedStyle(element))
          .filter((style) => style.transitionDuration !== '0s' || style.animationName !== 'none').length""",
    )
    assert animated == 0


async def test_the_ring_around_the_focus(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await show(tab, server)
    await tab.press("Tab")
    ring = "(b) => { const { outlineStyle, outlineWidth, outlineColor, color } = getComputedStyle(b);" + (
        "return [outlineStyle, outlineWidth, outlineColor === color]; }"
    )
    assert await tab.query(tab.widget().button("like"), ring) == ["solid", "2px", True]


async def test_hover_shows_where_there_is_hover(server: Server, new_tab: NewTab) -> None:
    """And its rule applies nowhere else: a touch leaves no button lit."""
    tab = await new_tab()
    await show(tab, server)
    button = tab.widget().button("like")
    before = await tab.query(button, STYLE, "borderTopColor")
    await tab.hover(button)
    hovers = await tab.evaluate("() => matchMedia('(hover: hover)').matches")
    assert (await tab.query(button, STYLE, "borderTopColor") != before) is hovers
    unconditional = """({ shadowRoot }) => [...shadowRoot.adoptedStyleSheets[0].cssRules]
      .filter(({ selectorText }) => /:hover/.test(selectorText)).length"""
    assert await tab.query("live-reactions", unconditional) == 0


async def test_readonly_looks_so(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await show(tab, server)
    clear = "(b) => getComputedStyle(b).borderTopColor.match(/, 0\\)$|transparent/) !== null"
    button = tab.widget().button("like")
    assert await tab.query(button, clear) is False
    await tab.query("live-reactions", "(e) => e.setAttribute('readonly', '')")
    assert await tab.query(button, clear) is True
    assert await tab.query(button, STYLE, "cursor") != "pointer"


async def test_out_of_date_dims_all_that_may_be(make_server: MakeServer, new_tab: NewTab) -> None:
    """Icons, numbers and words, and no colour claims what may have changed; and it can still be read."""
    tab = await new_tab()
    server = make_server()
    await show(tab, server)
    await tab.widget().click("dislike")
    await tab.widget().says("Your vote: Dislike.")
    looks = """(b) => { const { color, opacity } = getComputedStyle(b);
      return [color, opacity, getComputedStyle(b.getRootNode().host).color]; }"""
    button = tab.widget().button("dislike")
    colour, opacity, text = await tab.query(button, looks)
    assert colour != text
    assert opacity == "1"
    server.kill()
    await wait_until(lambda: dimmed(tab, button, looks), True)


async def dimmed(tab: Tab, button: str, looks: str) -> Any:
    colour, opacity, text = await tab.query(button, looks)
    return colour == text and 0.6 <= float(opacity) < 0.8
