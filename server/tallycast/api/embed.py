"""The embed script: its names, its bytes in every content coding, and the HTML that embeds it.

Owns what is computed from the file, once. Does not depend on how it is served.
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

from tallycast.config.errors import SettingsError
from tallycast.contract.errors import BadItem
from tallycast.contract.items import check_item
from tallycast.domain.printable import printable
from tallycast.domain.sites import DEFAULT_SITE, SITE_NAME

# Package data; in a checkout a link to the folder of that name at the root.
STATIC = Path(str(resources.files("tallycast"))) / "static"

IDENTITY = "identity"

# Scheme, host, port and path. Browsers remove dot segments, percent-encoded ones too, from a path
# (https://url.spec.whatwg.org/#double-dot-path-segment), and would request the script elsewhere.
_SERVER = re.compile(
    r"https?://(?:\[[0-9a-f:.]+\]|[^\s\x00-\x20/?#@:\[\]<>\"'`\\]+)(?::(\d{1,5}))?"
    r"(?:/(?!(?:\.|%2e){1,2}(?:/|$))(?:[\w.~-]|%[0-9a-f]{2})+)*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Script:
    """One version of the script; ``text`` is its source."""

    text: bytes

    @cached_property
    def digest(self) -> str:
        """The content hash in the immutable name."""
        return sha256(self.text).hexdigest()[:16]

    @property
    def pinned_name(self) -> str:
        """The immutable file name of this version."""
        return f"embed.{self.digest}.js"

    @cached_property
    def integrity(self) -> str:
        """The integrity metadata of the decoded script (W3C Subresource Integrity)."""
        return f"sha384-{base64.b64encode(sha384(self.text).digest()).decode()}"

    @cached_property
    def encoded(self) -> dict[str, bytes]:
        """The script by content coding, in order of preference."""
        return {
            "br": brotli.compress(self.text, mode=brotli.MODE_TEXT, quality=11),
            # Without a timestamp, so that the bytes are the same in all workers, after every start.
            "gzip": gzip.compress(self.text, 9, mtime=0),
            IDENTITY: self.text,
        }

    def etag(self, coding: str) -> str:
        """The strong entity tag of one content coding (RFC 9110, section 8.8.3.3)."""
        return f'"{self.digest}"' if coding == IDENTITY else f'"{self.digest}-{coding}"'


def installed() -> Script:
    """The script of this installation."""
    return Script((STATIC / "embed.js").read_bytes())


def snippet(script: Script, server: str, site: str, item: str | None, *, pinned: bool) -> str:
    """The HTML that embeds reactions in a page.

    Args:
        server: the public address of the server, with its base path.
        item: an item id, or ``None`` for the page's address.
        pinned: load this version only, verified by its hash.

    Raises:
        SettingsError: an invalid argument; the message names it as the command's flag.
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
    """The attributes of an element in HTML, with references for unprintable characters."""
    texts = {name: printable(escape(value), _reference) for name, value in attributes.items()}
    return " ".join(f'{name}="{text}"' for name, text in texts.items())


def _reference(char: str) -> str:
    return f"&#x{ord(char):x};"
