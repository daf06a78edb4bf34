"""What an item id is, at each of its borders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast.contract.errors import BadItem
from tallycast.contract.items import check_item


@pytest.mark.parametrize(
    "item", ["a", "posts/42", "é" * 128, "x" * 256, "日本語", " ", "a b", "{}", "\U0001f600" * 64]
)
def test_ids_are_taken_as_they_are(item: str) -> None:
    assert check_item(item) is item


@pytest.mark.parametrize(
    "item",
    [
        "",
        "x" * 257,
        "é" * 129,
        "\U0001f600" * 65,
        "a\x00",
        "\x1f",
        "\x7f",
        "a\x80b",
        "\x9f",
        "a\nb",
        "\ud800",
        5,
        None,
        ["a"],
    ],
)
def test_other_things_are_refused(item: object) -> None:
    with pytest.raises(BadItem):
        check_item(item)


def test_the_refusal_repeats_only_what_can_be_sent() -> None:
    for item, repeated in (("a\nb", "a\nb"), ("\ud800", None), ("\n" * 257, None)):
        with pytest.raises(BadItem) as refusal:
            check_item(item)
        assert refusal.value.item == repeated


@given(st.text(st.characters(categories=("L", "N", "P", "S", "M", "Zs")), min_size=1, max_size=64))
def test_printable_text_is_an_id(item: str) -> None:
    assert check_item(item) == item


@given(st.text(max_size=300))
def test_the_rule_in_its_own_words(item: str) -> None:
    try:
        size = len(item.encode())
    except UnicodeEncodeError:
        size = -1
    control = any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in item)
    if 1 <= size <= 256 and not control:
        assert check_item(item) == item
    else:
        with pytest.raises(BadItem):
            check_item(item)
