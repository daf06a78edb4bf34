"""The rate limit of a visitor over all of its connections, and the outcomes that are counted."""

import dataclasses

import pytest
from tallycast.contract.errors import RateLimited, Unavailable
from tallycast.domain.limits import Limits
from tallycast.domain.rates import Rate
from tallycast.domain.sites import Site
from tallycast.ledger.writer import Committed, SetReaction
from tallycast.services.author import author_of
from tallycast.services.reactions import ACKED, Reactions

from tests.support.names import NAMES
from tests.support.parts import ignore

SITE = Site(limits=Limits(reactions=Rate(10, 20)))


@dataclasses.dataclass
class Clock:
    now: float = 100.0


def test_each_visitor_has_a_rate_limit_of_its_own() -> None:
    written: list[SetReaction] = []
    clock = Clock()
    reactions = Reactions(NAMES, written.append, clock)
    one, other = (author_of(NAMES, SITE.name, visitor) for visitor in ("u:1", "u:2"))
    for author in (one, other):
        for _ in range(20):
            reactions.set(SITE, "a", author, "like", ignore)
        with pytest.raises(RateLimited) as caught:
            reactions.set(SITE, "a", author, "like", ignore)
        assert caught.value.retry_after == pytest.approx(0.1)
    clock.now += 0.5
    for _ in range(5):
        reactions.set(SITE, "a", one._replace(connection_id=7), "like", ignore)
    with pytest.raises(RateLimited):
        reactions.set(SITE, "a", one, "like", ignore)
    members = [entry.member for entry in written]
    assert members == [one.member] * 20 + [other.member] * 20 + [one.member] * 5
    assert written[-1].connection_id == 7


def test_other_work_costs_as_much_as_several_reactions() -> None:
    clock = Clock()
    reactions = Reactions(NAMES, ignore, clock)
    for _ in range(2):
        reactions.charge(SITE, "u:1", 10)
    with pytest.raises(RateLimited):
        reactions.charge(SITE, "u:1", 10)
    with pytest.raises(RateLimited):
        reactions.set(SITE, "a", author_of(NAMES, SITE.name, "u:1"), "like", ignore)
    clock.now += 1.0
    reactions.charge(SITE, "u:1", 10)
    # It is affordable whatever it costs.
    reactions.charge(Site(limits=Limits(reactions=Rate(1, 3))), "u:2", 10)


def test_outcomes_are_counted_also_those_that_never_occurred() -> None:
    reactions = Reactions(NAMES, ignore, Clock())
    reactions.record(Committed(1, {}))
    reactions.record(Unavailable("gone"))
    reactions.record(Unavailable("gone"))
    outcomes = reactions.outcomes()
    assert (outcomes[ACKED], outcomes["unavailable"], outcomes["rate_limited"]) == (1, 2, 0)
