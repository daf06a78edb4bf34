"""Which origins belong to a site."""

import pytest
from tallycast.contract.errors import BadItem
from tallycast.domain.patterns import ItemPattern
from tallycast.domain.sites import Site


@pytest.mark.parametrize(
    "origin", [None, "https://blog.example", "http://127.0.0.1:8000", "http://[::1]:8000"]
)
def test_any_origin_is_any_page(origin: str | None) -> None:
    assert Site().allows(origin)


@pytest.mark.parametrize(
    "origin", ["null", "", "*", "blog.example", "https://", "https://a/b", "https://a b"]
)
def test_null_and_nonsense_are_not_any_origin(origin: str) -> None:
    assert not Site().allows(origin)


def test_one_level_of_subdomains() -> None:
    site = Site(origins=frozenset({"https://*.blog.example", "http://*.dev.example:3000"}))
    for origin in ("https://www.blog.example", "https://a-b_1.blog.example", "http://x.dev.example:3000"):
        assert site.allows(origin)
    for other in (
        "https://blog.example",
        "https://.blog.example",
        "https://a.b.blog.example",
        "http://www.blog.example",
        "https://www.blog.example:8443",
        "https://www.blog.example.evil.example",
        "https://evilblog.example",
        "https://www-blog.example",
        "https://*.blog.example",
        "https://evil.example/www.blog.example",
        "https://user@www.blog.example",
        "https://x.dev.example:3000",
        "http://x.dev.example",
        "null",
    ):
        assert not site.allows(other), other


def test_items_must_match_the_pattern_as_a_whole() -> None:
    site = Site(items=ItemPattern("posts/[0-9]+"))
    assert site.check_item("posts/42") == "posts/42"
    for item in ("posts/", "posts/42/", "my posts/42", "posts/42\n", "", 5):
        with pytest.raises(BadItem):
            site.check_item(item)


def test_listed_origins_are_compared_exactly() -> None:
    site = Site(origins=frozenset({"https://blog.example", "null"}))
    assert site.allows("https://blog.example")
    assert site.allows("null")
    assert site.allows(None)
    for other in (
        "http://blog.example",
        "https://blog.example:8443",
        "https://blog.example.evil.example",
        "https://evilblog.example",
        "*",
    ):
        assert not site.allows(other)
