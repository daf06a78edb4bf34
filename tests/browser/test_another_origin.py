"""The whole promise: a plain HTML file with the two lines that `tallycast embed` prints, opened elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.async_api import expect

from tests.conftest import MakeServer

from .tabs import NewTab, Server, Tab, wait_until


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """Where another web server shows `folder`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def server(make_server: MakeServer, folder: Path, port: int) -> Server:
    """Its operator lists that web server and local files, and has put a page with the lines there."""
    sites = folder.parent / "tallycast.toml"
    sites.write_text(f'[sites.blog]\norigins = ["http://127.0.0.1:{port}", "null"]\n')
    server = make_server(flags=["--config", str(sites)])
    command = [sys.executable, "-m", "tallycast", "embed", "--server", server.url, "--site", "blog"]
    embed = subprocess.run([*command, "--item", "posts/42"], check=True, capture_output=True, text=True)
    assert len(embed.stdout.splitlines()) == 2
    (folder / "index.html").write_text(embed.stdout)
    return server


async def test_two_lines_are_enough(server: Server, new_tab: NewTab, folder: Path, port: int) -> None:
    """On another origin and in a file on the disk, whose origin is `null`: both see both votes."""
    there, here = await new_tab(), await new_tab()
    await there.page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    await there.page.goto(f"http://127.0.0.1:{port}/")
    await here.page.goto((folder / "index.html").as_uri())
    for tab in (there, here):
        await tab.widget.shows(like=0, dislike=0)
        await tab.widget.is_stale(False)

    await there.event("tallycast:react", there.widget.like.click)
    await here.widget.shows(like=1, dislike=0)
    await here.event("tallycast:react", here.widget.dislike.click)
    await there.widget.shows(like=1, dislike=1)
    assert await here.page.evaluate("origin") == "null"

    await there.page.reload()
    await there.widget.shows(like=1, dislike=1)
    await there.widget.holds("like")


async def test_a_page_that_the_site_does_not_list_is_told_so(
    server: Server, new_tab: NewTab, port: int
) -> None:
    """The same file, under another name of the same machine."""
    tab = await new_tab()
    tab.tolerant = True
    await tab.page.add_init_script(
        "document.addEventListener('tallycast:error', ({ detail }) => { window.reported = detail; })"
    )
    await tab.page.goto(f"http://localhost:{port}/")
    await tab.page.wait_for_function("window.reported")
    answer = await tab.page.evaluate("reported")
    assert (answer["item"], answer["code"], answer["message"]) == ("posts/42", "forbidden", "code 4503")
    await tab.widget.like.click()
    await expect(tab.widget.status).to_have_text("Not open to votes.")


# What a page can make a browser ask for.
ASKS = {
    "fetch": ("stream?site=blog&item=a", "fetch(url, { mode: 'no-cors' })"),
    "image": ("stream?site=blog&item=a", "new Image().src = url"),
    "script": ("stream?site=blog&item=a", "add('script').src = url"),
    "link": ("stream?site=blog&item=a", "location = url"),
    "form": ("visitors?site=blog", "Object.assign(add('form'), { action: url, method: 'post' }).submit()"),
    "beacon": ("visitors?site=blog", "navigator.sendBeacon(url)"),
    "EventSource": ("stream?site=blog&item=a", "new EventSource(url)"),
    "cors": ("items?site=blog&item=a", "fetch(url).catch(() => {})"),
}


async def statuses(tab: Tab) -> list[int]:
    """Statuses that the browser is answered from here on, also those that it keeps from the page."""
    found: list[int] = []
    protocol = await tab.page.context.new_cdp_session(tab.page)
    protocol.on("Network.responseReceivedExtraInfo", lambda answer: found.append(answer["statusCode"]))
    await protocol.send("Network.enable")
    return found


async def test_whatever_a_page_that_is_not_listed_asks_for_is_refused(
    server: Server, new_tab: NewTab, folder: Path, port: int
) -> None:
    (folder / "bare.html").write_text("<!doctype html><link rel=icon href=data:,><body>")
    answered = {}
    for way, (path, ask) in ASKS.items():
        tab = await new_tab()
        tab.tolerant = True
        await tab.page.goto(f"http://localhost:{port}/bare.html")
        found = await statuses(tab)
        add = "const add = name => document.body.appendChild(document.createElement(name))"
        await tab.page.evaluate(f"url => {{ {add}; {ask}; }}", f"{server.url}/v1/{path}")
        await wait_until(partial(_some, found), True)
        answered[way] = found[0]
    assert answered == dict.fromkeys(ASKS, 403)


async def _some(found: list[int]) -> bool:
    return bool(found)


async def test_what_a_listed_page_asks_for_with_its_origin_is_answered(
    server: Server, new_tab: NewTab, folder: Path, port: int
) -> None:
    """A beacon is sent without CORS, but says its Origin."""
    tab = await new_tab()
    (folder / "bare.html").write_text("<!doctype html><link rel=icon href=data:,><body>")
    await tab.page.goto(f"http://127.0.0.1:{port}/bare.html")
    found = await statuses(tab)
    await tab.page.evaluate("url => { navigator.sendBeacon(url); }", f"{server.url}/v1/visitors?site=blog")
    await wait_until(partial(_some, found), True)
    assert found == [201]
    url = f"{server.url}/v1/items?site=blog&item=a"
    assert await tab.page.evaluate("url => fetch(url).then(answer => answer.status)", url) == 200
