"""The pages of `examples/`, as somebody would open them: they really run, from another origin."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from .tabs import NewTab, Server, Tab

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two with a framework, bundled from node_modules."""
    folder = tmp_path_factory.mktemp("examples")
    esbuild = ROOT / "node_modules/esbuild/bin/esbuild"
    for source in ("react/main.tsx", "vue/main.js"):
        subprocess.run(
            [
                *(esbuild, EXAMPLES / source, "--bundle", "--jsx=automatic", "--format=esm"),
                *("--define:process.env.NODE_ENV='production'", "--log-level=error"),
                f"--outfile={folder / source.partition('/')[0]}.js",
            ],
            check=True,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            },  # where Node is, if it is asked for
        )
    return folder


async def visit(tab: Tab, server: Server, name: str, bundles: Path | None = None) -> None:
    """Serve an example's page on an origin of its own, with the test's server in the place of its own."""

    async def fulfill(route: Route) -> None:
        if route.request.url.endswith(".js"):
            assert bundles is not None
            body = await asyncio.to_thread((bundles / f"{name}.js").read_text)
            await route.fulfill(body=body, content_type="text/javascript")
        else:
            body = await asyncio.to_thread((EXAMPLES / name / "index.html").read_text)
            assert ADDRESS in body
            await route.fulfill(body=body.replace(ADDRESS, server.url), content_type="text/html")

    await tab.page.route("http://publisher.test/**", fulfill)
    await tab.page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    await tab.page.goto("http://publisher.test/")


async def test_plain(server: Server, new_tab: NewTab) -> None:
    tab = await new_tab()
    await visit(tab, server, "plain")
    await tab.event("tallycast:react", tab.widget.like.click)
    await tab.page.reload()
    await tab.widget.holds("like")


async def test_a_file_on_the_disk(server: Server, new_tab: NewTab, tmp_path: Path) -> None:
    """Its origin is `null`, which a server admits only when told to; it must not break the page."""
    page = tmp_path / "index.html"
    page.write_text((EXAMPLES / "plain/index.html").read_text().replace(ADDRESS, server.url))
    tab = await new_tab()
    tab.tolerant = True
    await tab.page.goto(page.as_uri())
    await expect(tab.widget.like).to_be_visible()


@pytest.mark.parametrize("name", ["react", "vue"])
async def test_frameworks(server: Server, new_tab: NewTab, bundles: Path, name: str) -> None:
    tab = await new_tab()
    await visit(tab, server, name, bundles)
    good = tab.widget.element.get_by_role("button", name="Good")
    await expect(good).to_have_text("0")

    await good.click()
    await expect(tab.page.locator("output").first).to_have_text("like")
    await tab.page.get_by_role("button", name="Other post").click()
    await expect(good).to_have_text("0")
    await tab.page.get_by_role("button", name="Other post").click()
    await expect(good).to_have_text("1")
    await expect(good).to_have_attribute("aria-pressed", "true")
    assert len(tab.sockets) == 1
