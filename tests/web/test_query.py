"""Query strings: what is one id stays one id."""

import pytest
from tallycast.contract.errors import BadItem, UnknownSite
from tallycast.contract.items import check_item
from tallycast.transport.http.query import Query


@pytest.mark.parametrize(
    ("raw", "item"),
    [
        (b"item=a", "a"),
        (b"item=a+b", "a b"),
        (b"item=a%20b&site=default", "a b"),
        (b"x=1&item=%C3%A9", "é"),
        (b"item=a%2Bb", "a+b"),
        (b"item=a%26b%3Dc", "a&b=c"),
        (b"item=../x//y", "../x//y"),
        ("item=é".encode(), "é"),
        (b"item=%e6%97%a5", "日"),
        (b"item=100%", "100%"),
        (b"item=a;b", "a;b"),
    ],
)
def test_ids_are_decoded(raw: bytes, item: str) -> None:
    assert Query(raw).item == item


@pytest.mark.parametrize(
    "raw", [b"item=%FF", b"item=%C3", b"item=%00", b"item=", b"item=%ED%A0%80", b"item=\xff"]
)
def test_what_is_no_id_is_recognised(raw: bytes) -> None:
    with pytest.raises(BadItem):
        check_item(Query(raw).item)


def test_different_broken_ids_are_not_made_one() -> None:
    assert Query(b"item=%FF").item != Query(b"item=%FE").item


@pytest.mark.parametrize("raw", [b"", b"site=default", b"item=a&item=b"])
def test_one_item_is_one(raw: bytes) -> None:
    with pytest.raises(BadItem):
        _ = Query(raw).item


def test_several_items_keep_their_order() -> None:
    assert Query(b"item=b&item=a&item=b").items == ["b", "a", "b"]


def test_too_many_fields_are_refused() -> None:
    assert len(Query(b"&".join([b"item=a"] * 1000)).items) == 1000
    with pytest.raises(BadItem):
        Query(b"&".join([b"item=a"] * 1001))


def test_the_site() -> None:
    assert Query(b"").site == "default"
    assert Query(b"site=blog").site == "blog"
    assert Query(b"site=").site == ""
    with pytest.raises(UnknownSite):
        _ = Query(b"site=a&site=b").site
