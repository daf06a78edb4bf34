"""WebKitGTK: its MiniBrowser under Xvfb, by WebDriver. A person is a session with a driver of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
from pathlib import Path
from typing import Any, Self

import httpx

from tests.browser.tabs import PATIENCE
from tests.support import processes
from tests.support.waiting import eventually

from .interface import Preferences, key_actions, pointer_actions
from .processes import Process

# Renders on the CPU: without it a machine that has no GPU never answers a request for a screenshot. There
# is no accessibility bus.
ENVIRONMENT = {"LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_SKIA_ENABLE_CPU_RENDERING": "1", "NO_AT_BRIDGE": "1"}


class WebkitSession:
    """The commands of one session. They go to one window at a time, so they take turns."""

    def __init__(self, driver: Process, client: httpx.AsyncClient, root: str) -> None:
        self._driver = driver
        self._client = client
        self._root = root
        self._turn = asyncio.Lock()
        self.handles: list[str] = []

    @classmethod
    async def open(cls, environment: dict[str, str], arguments: list[str]) -> Self:
        """Start a driver, with this beside our own environment, and a browser with these arguments."""
        driver = Process(["WebKitWebDriver", "--port=0"], {**os.environ, **ENVIRONMENT, **environment})
        try:
            port = await _listening_port(driver)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False)
            session = cls(driver, client, "")
            options = {"binary": _mini_browser(), "args": arguments}
            asked = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
            opened = await session._request("POST", "/session", asked)
        except BaseException:
            await driver.end()
            raise
        session._root = f"/session/{opened['sessionId']}"
        return session

    async def command(self, handle: str, method: str, path: str, body: object = None) -> Any:
        """Send a command for one window.

        Raises:
            RuntimeError: with the driver's reason.
        """
        async with self._turn:
            await self._request("POST", f"{self._root}/window", {"handle": handle})
            return await self._request(method, self._root + path, body)

    async def window(self) -> str:
        """The handle of a new window; the first one is there already."""
        async with self._turn:
            if not self.handles:
                handle = await self._request("GET", f"{self._root}/window")
            else:
                opened = await self._request("POST", f"{self._root}/window/new", {"type": "window"})
                handle = opened["handle"]
        self.handles.append(handle)
        return str(handle)

    async def close(self) -> None:
        await self._request("DELETE", self._root)
        await self._client.aclose()
        await self._driver.end()

    async def _request(self, method: str, path: str, body: object = None) -> Any:
        answer = await self._client.request(method, path, json={} if body is None else body)
        value = answer.json()["value"]
        if answer.is_error:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value


class WebkitWindow:
    def __init__(self, session: WebkitSession, handle: str) -> None:
        self._session = session
        self._handle = handle

    async def open(self, url: str) -> None:
        await self._command("POST", "/url", {"url": url})

    async def back(self) -> None:
        await self.call("async () => { setTimeout(() => history.back()); return ''; }", "")

    async def call(self, function: str, arguments: str) -> str:
        body = {"script": f"return ({function})(...arguments)", "args": [arguments]}
        answer: str = await self._command("POST", "/execute/sync", body)
        return answer

    async def is_named(self, element: str, name: str) -> bool:
        body = {"script": f"return ({element})()", "args": []}
        (reference,) = (await self._command("POST", "/execute/sync", body)).values()
        computed: str = await self._command("GET", f"/element/{reference}/computedlabel")
        return computed == name

    async def move(self, x: float, y: float) -> None:
        await self._command("POST", "/actions", {"actions": pointer_actions(x, y, click=False)})

    async def click(self, x: float, y: float) -> None:
        await self._command("POST", "/actions", {"actions": pointer_actions(x, y, click=True)})

    async def press(self, key: str) -> None:
        await self._command("POST", "/actions", {"actions": key_actions(key)})

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport. The window loses the focus."""
        size = "async () => JSON.stringify([outerWidth - innerWidth, outerHeight - innerHeight])"
        beside, above = map(int, (await self.call(size, "")).strip("[]").split(","))
        await self._command("POST", "/window/rect", {"width": width + beside, "height": height + above})

    async def screenshot(self) -> bytes:
        return base64.b64decode(await self._command("GET", "/screenshot"))

    async def close(self) -> None:
        await self._command("DELETE", "/window")

    async def _command(self, method: str, path: str, body: object = None) -> Any:
        return await self._session.command(self._handle, method, path, body)


class WebkitPerson:
    def __init__(self, session: WebkitSession) -> None:
        self._session = session

    async def window(self) -> WebkitWindow:
        return WebkitWindow(self._session, await self._session.window())

    async def close(self) -> None:
        await self._session.close()


class Webkit:
    def __init__(self, screen: Process, display: str, proxy: str) -> None:
        self._screen = screen
        self._display = display
        self._proxy = proxy

    @classmethod
    async def start(cls, proxy: str) -> Self:
        """Start the screen that its windows are shown on.

        Raises:
            RuntimeError: it is not installed.
        """
        for name in ("Xvfb", "WebKitWebDriver"):
            if not shutil.which(name):
                raise RuntimeError(f"no {name} on PATH: run tools/browsers.sh")
        # It picks a free number and prints it.
        screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-noreset"]
        process = Process(screen, os.environ)
        number = (await process.line(re.compile(r"^(\d+)$", re.M)))[1]
        return cls(process, f":{number}", proxy)

    async def person(self, preferences: Preferences) -> WebkitPerson:
        # By the environment: WebKitGTK 2.50 reads beyond the end of a session's `noProxy` and sometimes
        # crashes. The driver waits for ever for a browser that crashed.
        proxy = {"http_proxy": f"http://{self._proxy}", "no_proxy": "127.0.0.1,localhost"}
        arguments = ["--automation", *(["--dark-mode"] if preferences.dark else [])]
        return WebkitPerson(await WebkitSession.open({"DISPLAY": self._display, **proxy}, arguments))

    async def close(self) -> None:
        await self._screen.end()


def _mini_browser() -> str:
    """Where Debian has put it: in a folder by architecture and version.

    Raises:
        RuntimeError: nowhere.
    """
    for path in sorted(Path("/usr").glob("lib*/**/webkit2gtk-4.*/MiniBrowser"), reverse=True):
        return str(path)
    raise RuntimeError("no MiniBrowser below /usr/lib: run tools/browsers.sh")


async def _listening_port(process: Process) -> int:
    """The port that a process took, as the kernel knows it: the driver does not say."""
    await eventually(lambda: processes.listening_port(process.pid) is not None)
    port = processes.listening_port(process.pid)
    assert port is not None
    return port
