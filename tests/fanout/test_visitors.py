"""Connections of one visitor."""

from collections.abc import Callable

from server.people import People


def test_people_hear_of_their_own_wherever_they_are() -> None:
    followed: list[bytes] = []
    left: list[bytes] = []
    people = People(followed.append, left.append)
    heard: list[tuple[str, str | None]] = []

    class Tab:
        def __init__(self, name: str) -> None:
            self.name = name

        def hear(self, item: str, version: int, reaction: str | None, origin: int) -> None:
            heard.append((self.name, reaction))

    one, two, other = Tab("one"), Tab("two"), Tab("other")
    join: Callable[..., None] = people.join
    join(b"me", one)
    join(b"me", two)
    join(b"you", other)
    assert followed == [b"me", b"you"]
    people.tell(b"me", "a", 1, "like", 0)
    people.tell(b"unknown", "a", 1, "like", 0)
    assert sorted(heard) == [("one", "like"), ("two", "like")]
    people.part(b"me", one)
    people.part(b"me", two)
    assert left == [b"me"]
    people.tell(b"me", "a", 2, None, 0)
    assert len(heard) == 2
