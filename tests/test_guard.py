"""The guard's checks, with a clock of its own."""

import re

import pytest

from server.errors import BadItem, Forbidden, TooManyItems, Unauthorized, UnknownSite
from server.guard import Guard
from server.rules import tokens
from server.rules.sites import Limits, Site

SITE = Site("blog", origins=frozenset({"https://blog.example"}))
OTHER = Site("other")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard({"blog": SITE, "other": OTHER}, b"s" * 32, clock)


def test_sites_by_name(guard: Guard) -> None:
    assert guard.site("blog") is SITE
    for name in ("", "Blog", "nope", "default"):
        with pytest.raises(UnknownSite):
            guard.site(name)


def test_origins(guard: Guard) -> None:
    guard.origin(SITE, None)
    guard.origin(SITE, "https://blog.example")
    for origin in ("https://evil.example", "null", ""):
        with pytest.raises(Forbidden):
            guard.origin(SITE, origin)


def test_items_of_a_message_once_each_and_not_too_many(guard: Guard) -> None:
    assert guard.items(SITE, ["b", "a", "b"]) == ["b", "a"]
    assert guard.items(SITE, []) == []
    full = [str(i) for i in range(100)]
    assert guard.items(SITE, full) == full
    with pytest.raises(TooManyItems):
        guard.items(SITE, [*full, "more"])
    with pytest.raises(BadItem):
        guard.items(SITE, ["a", ""])
    small = Site("small", limits=Limits(items_a_message=1), items=re.compile("[0-9]+"))
    assert guard.items(small, ["7", "7"][:1]) == ["7"]
    with pytest.raises(TooManyItems):
        guard.items(small, ["7", "8"])
    with pytest.raises(BadItem, match="no such items"):
        guard.items(small, ["7x"])


def test_items_of_a_connection(guard: Guard) -> None:
    guard.room(SITE, 5000)
    with pytest.raises(TooManyItems):
        guard.room(SITE, 5001)
    with pytest.raises(TooManyItems):
        guard.room(Site(limits=Limits(items_a_connection=2)), 3)


def test_a_newcomer_is_somebody_on_this_site_only(guard: Guard, clock: Clock) -> None:
    visitor, token, expires = guard.newcomer(SITE)
    assert guard.identify(SITE, token) == tokens.Identity(visitor, clock.now, expires)
    with pytest.raises(Unauthorized):
        guard.identify(OTHER, token)
    assert guard.newcomer(SITE)[0] != visitor


def test_a_site_without_strangers(guard: Guard) -> None:
    closed = Site("blog", anonymous=False)
    _, token, _ = guard.newcomer(SITE)
    identity = guard.identify(SITE, token)
    for refused in (guard.identify, guard.renew):
        with pytest.raises(Forbidden):
            refused(closed, token)
    with pytest.raises(Forbidden):
        guard.newcomer(closed)
    assert guard.vouches(SITE, identity)
    assert not guard.vouches(closed, identity)


def test_renewal_keeps_the_visitor_after_the_token_has_expired(guard: Guard, clock: Clock) -> None:
    visitor, token, expires = guard.newcomer(SITE)
    clock.now = expires + 86400.0
    with pytest.raises(Unauthorized):
        guard.identify(SITE, token)
    again, fresh, later = guard.renew(SITE, token)
    assert (again, later) == (visitor, int(clock.now) + tokens.LIFETIME)
    assert guard.identify(SITE, fresh).visitor == visitor
    clock.now = expires + tokens.RENEWABLE + 60.0
    with pytest.raises(Unauthorized):
        guard.renew(SITE, token)


def test_grace_counts_from_the_end_of_the_token(guard: Guard, clock: Clock) -> None:
    identity = guard.identify(SITE, guard.newcomer(SITE)[1])
    clock.now = identity.expires + 25.0
    assert not guard.expired(identity, 25.0)
    clock.now += 1
    assert guard.expired(identity, 25.0)
