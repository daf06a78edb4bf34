"""An element without an item is the page's, and the page goes on without loading: whatever tells of that."""

from __future__ import annotations

from .tabs import NewTab, Server, Tab, fresh_item

# As in Safari before 26.2 and Firefox before 147; and keeps which items were shown and voted on.
NO_NAVIGATION = """<script>
Object.defineProperty(window, 'navigation', { value: undefined });
window.ready = [];
window.voted = [];
document.addEventListener('tallycast:ready', ({ detail }) => ready.push(detail.item));
document.addEventListener('tallycast:react', ({ detail }) => voted.push(detail.item));
</script>"""
PUSH = "(path) => history.pushState(null, '', path)"


async def visit(tab: Tab, server: Server) -> str:
    """Open a page of its own, and return its item, which is its address."""
    url = await tab.visit(
        server, "<live-reactions></live-reactions>", head=NO_NAVIGATION, path=f"/{fresh_item()}"
    )
    await tab.widget().shows(like=0, dislike=0)
    return url


async def test_a_click_is_for_the_page_that_is_shown(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    url = await visit(tab, server)
    await tab.evaluate(PUSH, f"{url}/next")
    await tab.widget().click("like")
    await tab.waits("() => voted", [f"{url}/next"])
    await tab.widget().says("Your vote: Like.")
    await tab.widget().shows(like=1, dislike=0)

    await tab.evaluate("() => history.back()")  # popstate
    await tab.widget().holds(None)
    await tab.widget().shows(like=0, dislike=0)


async def test_it_is_looked_at_again_when_the_page_is_seen_again(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    url = await visit(tab, server)
    await tab.evaluate(PUSH, f"{url}/next")
    await tab.evaluate("() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    await tab.waits("() => ready", [url, f"{url}/next"])


async def test_a_canonical_link_that_changes(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    url = await visit(tab, server)
    await tab.evaluate(
        """(href) => {
          const link = document.createElement('link');
          link.rel = 'canonical';
          link.href = href;
          document.head.append(link);
        }""",
        f"{url}/one",
    )
    await tab.waits("() => ready", [url, f"{url}/one"])
    await tab.evaluate(
        "(href) => { document.querySelector('link[rel=canonical]').href = href; }", f"{url}/two"
    )
    await tab.waits("() => ready", [url, f"{url}/one", f"{url}/two"])
