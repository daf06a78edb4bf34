"""The script's names and hashes, and the lines to paste as a browser would read them."""

import gzip
import hashlib
from base64 import b64decode
from html.parser import HTMLParser

import brotli
import pytest
from tallycast.api.embed import Script, installed, snippet
from tallycast.config.errors import SettingsError

SCRIPT = Script(b"'use strict';\n" * 100)
HERE = "https://tally.example"


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), "no attribute twice"
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data.strip()


def pasted(server: str = HERE, site: str = "default", item: str | None = None, *, pinned: bool = False):
    elements = Elements(snippet(SCRIPT, server, site, item, pinned=pinned))
    (script, element), text = elements.found, elements.text
    assert (script[0], element[0], text) == ("script", "live-reactions", "")
    assert "async" in script[1]
    return script[1], element[1]


def test_every_encoding_is_the_script() -> None:
    assert brotli.decompress(SCRIPT.encoded["br"]) == SCRIPT.text
    assert gzip.decompress(SCRIPT.encoded["gzip"]) == SCRIPT.text
    assert SCRIPT.encoded["identity"] == SCRIPT.text
    assert len(SCRIPT.encoded["br"]) < len(SCRIPT.text)


def test_the_same_script_has_the_same_bytes_everywhere_and_another_has_others() -> None:
    again, other = Script(SCRIPT.text), Script(SCRIPT.text + b"//")
    assert (again.encoded, again.digest, again.integrity) == (SCRIPT.encoded, SCRIPT.digest, SCRIPT.integrity)
    assert len({SCRIPT.digest, other.digest, SCRIPT.integrity, other.integrity}) == 4


def test_each_encoding_has_a_tag_of_its_own() -> None:
    assert len({SCRIPT.etag(coding) for coding in SCRIPT.encoded}) == len(SCRIPT.encoded)


def test_the_integrity_is_that_of_the_decoded_script() -> None:
    name, _, digest = SCRIPT.integrity.partition("-")
    assert (name, b64decode(digest)) == ("sha384", hashlib.sha384(SCRIPT.text).digest())


def test_the_installed_script_is_the_widget() -> None:
    assert b"live-reactions" in installed().text


def test_the_lines_of_the_contract() -> None:
    assert snippet(SCRIPT, HERE, "blog", "posts/42", pinned=False) == (
        '<script src="https://tally.example/embed.js" data-site="blog" async></script>\n'
        '<live-reactions item="posts/42"></live-reactions>\n'
    )


def test_what_goes_without_saying_is_not_said() -> None:
    script, element = pasted(f"{HERE}/")
    assert script == {"src": f"{HERE}/embed.js", "async": None}
    assert element == {}


def test_pinned() -> None:
    script, _ = pasted(pinned=True)
    assert script["src"] == f"{HERE}/{SCRIPT.pinned_name}"
    assert script["integrity"] == SCRIPT.integrity
    assert script["crossorigin"] == "anonymous"


@pytest.mark.parametrize(
    "name",
    ['"><script>alert(1)</script>', "'", "a&amp;b", "a&b=c;", "</script>", "é\U0001f44d", " x ", "\u2028"],
)
def test_any_item_comes_out_as_it_went_in_and_no_site_is_called_that(name: str) -> None:
    _, element = pasted(item=name)
    assert element["item"] == name
    with pytest.raises(SettingsError, match="--site"):
        pasted(site=name)


def test_a_site_is_named() -> None:
    script, _ = pasted(site="blog.example_2-b")
    assert script["data-site"] == "blog.example_2-b"


@pytest.mark.parametrize(
    "server",
    [
        "http://localhost",
        "http://127.0.0.1:8000",
        "https://[::1]:8443",
        "HTTPS://Tally.Example",
        "https://tälly.example",
        "https://example.org/tally",
        "https://example.org/a/b.c/%7Ed",
        "https://example.org/...",
        "https://example.org/..a/%2e.b",
    ],
)
def test_addresses(server: str) -> None:
    assert pasted(server)[0]["src"] == f"{server}/embed.js"


@pytest.mark.parametrize(
    "server",
    [
        "",
        "tally.example",
        "//tally.example",
        "ftp://tally.example",
        "https://",
        "https:///",
        "https://tally.example/a//b",
        "https://tally.example/a b",
        "https://tally.example/a?b",
        "https://tally.example/ä",
        "https://tally.example//",
        "https://tally.example?x",
        "https://tally.example#x",
        "https://user:pass@tally.example",
        "https://tally.example:port",
        "https://tally.example:123456",
        "https://tally.example:65536",
        "https://tally.example:0",
        "https://tally.example/..",
        "https://tally.example/../x",
        "https://tally.example/a/./b",
        "https://tally.example/a/%2e%2E/b",
        "https://tally.example/.%2e",
        "https://tally.example/%zz",
        'https://tally.example"onload="x',
        "https://a b",
        "https://a\nb",
        "https://a\x00b",
    ],
)
def test_addresses_that_are_none(server: str) -> None:
    with pytest.raises(SettingsError, match=r"^--server: expected"):
        pasted(server)


@pytest.mark.parametrize("site", ["", "a\nb", "\x7f", "\ud800"])
def test_sites_that_are_none(site: str) -> None:
    with pytest.raises(SettingsError, match=r"^--site: expected"):
        pasted(site=site)


@pytest.mark.parametrize("item", ["", "a\nb", "x" * 257, "\ud800"])
def test_items_that_are_none(item: str) -> None:
    with pytest.raises(SettingsError, match=r"^--item: an item id"):
        pasted(item=item)
