"""Firefox, by WebDriver BiDi. One process for each set of preferences; a person is a container of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

from .bidi import Bidi
from .interface import Preferences, key_actions, pointer_actions
from .processes import Process

# Nothing is fetched that no test asks for: the proxy answers 404 to every name but its own.
QUIET = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "data:,",
}


class FirefoxWindow:
    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self._context = context

    async def open(self, url: str) -> None:
        await self._command("browsingContext.navigate", url=url, wait="complete")

    async def back(self) -> None:
        await self.call("async () => { setTimeout(() => history.back()); return ''; }", "")

    async def call(self, function: str, arguments: str) -> str:
        answer: str = (await self._script(function, {"type": "string", "value": arguments}))["value"]
        return answer

    async def is_named(self, element: str, name: str) -> bool:
        parent = await self._script(f"() => ({element})().parentNode")
        locator = {"type": "accessibility", "value": {"name": name}}
        found = await self._command("browsingContext.locateNodes", locator=locator, startNodes=[parent])
        return (await self._script(element))["sharedId"] in {node["sharedId"] for node in found["nodes"]}

    async def move(self, x: float, y: float) -> None:
        await self._command("input.performActions", actions=pointer_actions(x, y, click=False))

    async def click(self, x: float, y: float) -> None:
        await self._command("input.performActions", actions=pointer_actions(x, y, click=True))

    async def press(self, key: str) -> None:
        await self._command("input.performActions", actions=key_actions(key))

    async def resize(self, width: int, height: int) -> None:
        await self._command("browsingContext.setViewport", viewport={"width": width, "height": height})

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self._command("browsingContext.captureScreenshot"))["data"])

    async def close(self) -> None:
        await self._command("browsingContext.close")

    async def _script(self, function: str, *arguments: object) -> Any:
        """Call a function; what it returns, as BiDi writes it."""
        result = await self._bidi.command(
            "script.callFunction",
            functionDeclaration=function,
            arguments=list(arguments),
            awaitPromise=True,
            target={"context": self._context},
        )
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return result["result"]

    async def _command(self, method: str, **parameters: Any) -> Any:
        return await self._bidi.command(method, context=self._context, **parameters)


class FirefoxPerson:
    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self._context = context

    async def window(self) -> FirefoxWindow:
        # A window and not a tab: tabs behind another are hidden.
        created = await self._bidi.command("browsingContext.create", type="window", userContext=self._context)
        return FirefoxWindow(self._bidi, created["context"])

    async def close(self) -> None:
        await self._bidi.command("browser.removeUserContext", userContext=self._context)


class FirefoxProcess:
    """One Firefox with a profile of its own, in a temporary folder."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str], process: Process, bidi: Bidi) -> None:
        self._folder = folder
        self._process = process
        self.bidi = bidi

    @classmethod
    async def start(cls, values: dict[str, object]) -> Self:
        """Start one with these values in its ``about:config``.

        Raises:
            RuntimeError: it is not installed.
        """
        name = shutil.which("firefox-esr") or shutil.which("firefox")
        if not name:
            raise RuntimeError("no Firefox on PATH: run tools/browsers.sh")
        folder = tempfile.TemporaryDirectory(prefix="tallycast-firefox-", ignore_cleanup_errors=True)
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in values.items()]
        (Path(folder.name) / "user.js").write_text("\n".join(lines))
        flags = ["--headless", "--no-remote", "--profile", folder.name, "--remote-debugging-port=0"]
        process = Process([name, *flags], {**os.environ, "HOME": folder.name})
        url = (await process.line(re.compile(r"BiDi listening on (ws://\S+)")))[1]
        return cls(folder, process, await Bidi.open(url))

    async def close(self) -> None:
        await self.bidi.close()
        await self._process.end()
        await asyncio.to_thread(self._folder.cleanup)


class Firefox:
    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._processes: dict[Preferences, FirefoxProcess] = {}

    @classmethod
    async def start(cls, proxy: str) -> Self:
        return cls(proxy)

    async def person(self, preferences: Preferences) -> FirefoxPerson:
        if preferences not in self._processes:
            self._processes[preferences] = await FirefoxProcess.start(self._values(preferences))
        bidi = self._processes[preferences].bidi
        return FirefoxPerson(bidi, (await bidi.command("browser.createUserContext"))["userContext"])

    async def close(self) -> None:
        for process in self._processes.values():
            await process.close()

    def _values(self, preferences: Preferences) -> dict[str, object]:
        host, _, port = self._proxy.partition(":")
        return {
            **QUIET,
            "network.proxy.type": 1,
            "network.proxy.http": host,
            "network.proxy.http_port": int(port),
            "network.proxy.ssl": host,
            "network.proxy.ssl_port": int(port),
            "layout.css.prefers-color-scheme.content-override": 0 if preferences.dark else 1,
        }
