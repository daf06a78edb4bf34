"""The ledger of acknowledged reactions."""

from hypothesis import given
from hypothesis import strategies as st
from tallycast_load.reactions.ledger import MAX_APPLY_DELAY, ReactionLedger, SentReaction


def sent(reaction: str | None, at: int) -> SentReaction:
    return SentReaction(1, 0, reaction, at, at, 1)


def test_the_ledger_keeps_what_was_acknowledged_last() -> None:
    ledger = ReactionLedger()
    first, second = ledger.add(sent("like", 0)), ledger.add(sent(None, 1))
    assert ledger.oldest() == 0
    # Answers over HTTP may overtake each other: versions tell.
    assert ledger.acknowledge(second, 20) is not None
    assert ledger.acknowledge(first, 10) is not None
    assert ledger.acknowledge(first, 10) is None
    ((_, _, held),) = ledger.entries()
    assert held.possible() == {None}
    assert ledger.oldest() is None


def test_an_open_outcome_allows_both_until_it_cannot_linger() -> None:
    ledger = ReactionLedger()
    ledger.acknowledge(ledger.add(sent("like", 0)), 10)
    ledger.reject(ledger.add(sent("dislike", 1)), uncertain=True)
    ((_, _, held),) = ledger.entries()
    assert held.possible() == {"like", "dislike"}
    ledger.acknowledge(ledger.add(sent(None, 2)), 30)
    assert held.possible() == {None, "dislike"}
    ledger.acknowledge(ledger.add(sent("like", 2 + MAX_APPLY_DELAY)), 40)
    assert held.possible() == {"like"}


@given(st.sampled_from(["like", "dislike", None]), st.floats(0, 1, exclude_max=True))
def test_every_reaction_changes_something(last: str | None, chance: float) -> None:
    ledger = ReactionLedger()
    ledger.add(sent(last, 0))
    assert ledger.choose(1, 0, ["like", "dislike"], chance) != last
