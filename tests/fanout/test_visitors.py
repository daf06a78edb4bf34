"""Connections of one visitor."""

from collections.abc import Callable

from tallycast.fanout.visitors import VisitorChannels


def test_people_hear_of_their_own_wherever_they_are() -> None:
    followed: list[bytes] = []
    left: list[bytes] = []
    visitors = VisitorChannels(followed.append, left.append)
    received: list[tuple[str, str | None]] = []

    class Tab:
        def __init__(self, name: str) -> None:
            self.name = name

        def on_reaction(self, item: str, version: int, reaction: str | None, origin: int) -> None:
            received.append((self.name, reaction))

    one, two, other = Tab("one"), Tab("two"), Tab("other")
    join: Callable[..., None] = visitors.join
    join(b"me", one)
    join(b"me", two)
    join(b"you", other)
    assert followed == [b"me", b"you"]
    visitors.notify(b"me", "a", 1, "like", 0)
    visitors.notify(b"unknown", "a", 1, "like", 0)
    assert sorted(received) == [("one", "like"), ("two", "like")]
    visitors.leave(b"me", one)
    visitors.leave(b"me", two)
    assert left == [b"me"]
    visitors.notify(b"me", "a", 2, None, 0)
    assert len(received) == 2
