"""Which origins belong to a site."""

import pytest

from server.rules.sites import Site


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
