"""The ledger of acknowledged reactions."""

from hypothesis import given
from hypothesis import strategies as st
from tallycast_load.reactions.ledger import MAY_LINGER, Book, Sent


def sent(wish: str | None, at: int) -> Sent:
    return Sent(1, 0, wish, at, at, 1)


def test_the_book_keeps_what_was_acknowledged_last() -> None:
    book = Book()
    first, second = book.send(sent("like", 0)), book.send(sent(None, 1))
    assert book.oldest() == 0
    # Answers over HTTP may overtake each other: versions tell.
    assert book.acknowledge(second, 20) is not None
    assert book.acknowledge(first, 10) is not None
    assert book.acknowledge(first, 10) is None
    ((_, _, held),) = book.held()
    assert held.allowed() == {None}
    assert book.oldest() is None


def test_an_open_outcome_allows_both_until_it_cannot_linger() -> None:
    book = Book()
    book.acknowledge(book.send(sent("like", 0)), 10)
    book.refuse(book.send(sent("dislike", 1)), unsure=True)
    ((_, _, held),) = book.held()
    assert held.allowed() == {"like", "dislike"}
    book.acknowledge(book.send(sent(None, 2)), 30)
    assert held.allowed() == {None, "dislike"}
    book.acknowledge(book.send(sent("like", 2 + MAY_LINGER)), 40)
    assert held.allowed() == {"like"}


@given(st.sampled_from(["like", "dislike", None]), st.floats(0, 1, exclude_max=True))
def test_every_wish_changes_something(last: str | None, chance: float) -> None:
    book = Book()
    book.send(sent(last, 0))
    assert book.choose(1, 0, ["like", "dislike"], chance) != last
