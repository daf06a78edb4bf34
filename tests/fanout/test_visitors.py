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

        def on_reaction(self, item: str, version: int, reaction: str | None, connection_id: int) -> None:
            received.append((self.name, reaction))

    one, two, other = Tab("one"), Tab("two"), Tab("other")
    subscribe: Callable[..., None] = visitors.subscribe
    subscribe(b"me", one)
    subscribe(b"me", two)
    subscribe(b"you", other)
    assert followed == [b"me", b"you"]
    visitors.notify(b"me", "a", 1, "like", 0)
    visitors.notify(b"unknown", "a", 1, "like", 0)
    assert sorted(received) == [("one", "like"), ("two", "like")]
    visitors.unsubscribe(b"me", one)
    visitors.unsubscribe(b"me", two)
    assert left == [b"me"]
    visitors.notify(b"me", "a", 2, None, 0)
    assert len(received) == 2
