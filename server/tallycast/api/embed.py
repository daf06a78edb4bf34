"""The embed script: its names, its bytes in every encoding, and the lines that put it on a page.

Everything is computed from the one file, once. Must not know how it is served.
"""

import base64
import gzip
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256, sha384
from html import escape
from importlib import resources
from pathlib import Path

import brotli

from tallycast.contract.errors import BadItem, SettingsError
from tallycast.contract.items import check_item
from tallycast.domain.printable import printable
from tallycast.domain.sites import DEFAULT_SITE, SITE_NAME

# Package data; in a checkout a link to the folder of that name beside the package.
STATIC = Path(str(resources.files("tallycast"))) / "static"

IDENTITY = "identity"

# Scheme, host and port, and a path. Browsers take segments of dots, percent-encoded ones too, out of a path
# (https://url.spec.whatwg.org/#double-dot-path-segment), so that the script would be asked for elsewhere.
_SERVER = re.compile(
    r"https?://(?:\[[0-9a-f:.]+\]|[^\s\x00-\x20/?#@:\[\]<>\"'`\\]+)(?::(\d{1,5}))?"
    r"(?:/(?!(?:\.|%2e){1,2}(?:/|$))(?:[\w.~-]|%[0-9a-f]{2})+)*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Script:
    """The script as one version of it reads."""

    text: bytes

    @cached_property
    def digest(self) -> str:
        """What the version is called in its immutable name."""
        return sha256(self.text).hexdigest()[:16]

    @property
    def pinned_name(self) -> str:
        """The name under which there will never be anything but this version."""
        return f"embed.{self.digest}.js"

    @cached_property
    def integrity(self) -> str:
        """The hash that browsers compare the decoded script with (W3C Subresource Integrity)."""
        return f"sha384-{base64.b64encode(sha384(self.text).digest()).decode()}"

    @cached_property
    def encoded(self) -> dict[str, bytes]:
        """The script in every content coding, the one to be preferred first."""
        return {
            "br": brotli.compress(self.text, mode=brotli.MODE_TEXT, quality=11),
            # Without a time in it, so that all workers and all starts have the same bytes.
            "gzip": gzip.compress(self.text, 9, mtime=0),
            IDENTITY: self.text,
        }

    def etag(self, coding: str) -> str:
        """The strong tag of one encoding; each has its own (RFC 9110, section 8.8.3.3)."""
        return f'"{self.digest}"' if coding == IDENTITY else f'"{self.digest}-{coding}"'


def installed() -> Script:
    """The script that came with this server."""
    return Script((STATIC / "embed.js").read_bytes())


def snippet(script: Script, server: str, site: str, item: str | None, *, pinned: bool) -> str:
    """The HTML that puts reactions on a page of a site; ``item`` ``None`` means the page itself.

    Raises:
        SettingsError: one of these cannot be; the text names it as the command's flag.
    """
    server = server.removesuffix("/")
    _check_address(server)
    if not re.fullmatch(SITE_NAME, site):
        raise SettingsError(
            "--site: expected the name of a site (letters, digits, '.', '_' and '-', at most 64), "
            f"not {site!r}"
        )
    try:
        item = None if item is None else check_item(item)
    except BadItem as refusal:
        raise SettingsError(f"--item: {refusal}") from None
    name = script.pinned_name if pinned else "embed.js"
    source = {"src": f"{server}/{name}"}
    which = {} if site == DEFAULT_SITE else {"data-site": site}
    lines = [_attributes(source | which)]
    if pinned:
        # Without crossorigin a browser cannot compare the hash of another origin's script.
        lines += [_attributes({"integrity": script.integrity}), _attributes({"crossorigin": "anonymous"})]
    head = "\n        ".join(lines)
    element = "" if item is None else f" {_attributes({'item': item})}"
    return f"<script {head} async></script>\n<live-reactions{element}></live-reactions>\n"


def _check_address(server: str) -> None:
    expected = "--server: expected an address like https://tally.example or https://example.org/tally"
    found = _SERVER.fullmatch(server)
    if "@" in server:
        raise SettingsError(f"{expected}, without user and password")
    if found is None or not 1 <= int(found[1] or 1) <= 65535:
        raise SettingsError(
            f"{expected} (no query, no fragment, no '.', '..' or empty segment), not {server!r}"
        )


def _attributes(attributes: dict[str, str]) -> str:
    """Attributes of an element, which are the same ones to a browser and legible to a person."""
    texts = {name: printable(escape(value), _reference) for name, value in attributes.items()}
    return " ".join(f'{name}="{text}"' for name, text in texts.items())


def _reference(char: str) -> str:
    return f"&#x{ord(char):x};"
