"""The reaction rule by its properties; ``tests/ledger/test_react.py`` holds the script to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast.contract.errors import BadReaction
from tallycast.signals.choice import Item, check_reaction, react

KINDS = ("like", "dislike")
reactions = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([*KINDS, None]), st.integers(0, 10**6)), max_size=30
)


@given(reactions)
def test_counts_are_the_last_reaction_of_each_person(history: list[tuple[str, str | None, int]]) -> None:
    item = Item()
    for visitor, apply, now in history:
        item = react(item, visitor, apply, now)
    last = {visitor: apply for visitor, apply, _ in history}
    assert item.counts(KINDS) == {kind: list(last.values()).count(kind) for kind in KINDS}


@given(reactions, st.sampled_from("abc"), st.sampled_from([*KINDS, None]))
def test_repeating_a_reaction_changes_nothing(
    history: list[tuple[str, str | None, int]], visitor: str, apply: str | None
) -> None:
    item = Item()
    for voter, what, now in history:
        item = react(item, voter, what, now)
    once = react(item, visitor, apply, 5)
    assert react(once, visitor, apply, 10**9) is once


@given(reactions)
def test_versions_rise_with_every_change_even_when_the_clock_does_not(
    history: list[tuple[str, str | None, int]],
) -> None:
    item = Item()
    for visitor, apply, now in history:
        before = item
        item = react(item, visitor, apply, now)
        if item is not before:
            assert item.version > before.version
            assert item.version >= now


def test_reactions_of_the_site_only() -> None:
    assert check_reaction("like", KINDS) == "like"
    assert check_reaction(None, KINDS) is None
    for other in ("love", "", "LIKE", 1, True, ["like"], {"like": 1}):
        with pytest.raises(BadReaction):
            check_reaction(other, KINDS)
