"""Token buckets: what may come in which time, to the piece, and what is forgotten."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tallycast.domain.rates import SHARED, Buckets, Rate, rate

rates = st.builds(Rate, st.floats(0.001, 1e4), st.integers(1, 50))
# The clock counts from the start of the machine.
times = st.floats(0, 1e7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/s burst 20", Rate(10, 20)),
        ("0.5/s burst 1", Rate(0.5, 1)),
        ("30/m burst 5", Rate(0.5, 5)),
        ("3600/h burst 9", Rate(1, 9)),
    ],
)
def test_rates_as_they_are_written(text: str, expected: Rate) -> None:
    assert rate(text) == expected
    assert rate(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "10/s", "10/s burst", "10/s burst 0", "0/s burst 5", "0.0/s burst 5", "-1/s burst 5"),
        *("1/d burst 5", "1/s burst 1.5", "1/s burst 5 ", "1e3/s burst 5", "١/s burst 5", "1/s  burst 5"),
    ],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        rate(text)


@given(rates, times)
def test_a_full_bucket_gives_its_burst_and_no_more(limit: Rate, now: float) -> None:
    full_at = now - 1.0
    for taken in range(limit.burst):
        assert limit.left(full_at, now) == limit.burst - taken
        full_at = limit.spend(full_at, now)
        assert limit.wait(full_at, now) == 0
    assert limit.left(full_at, now) == 0
    assert limit.wait(limit.spend(full_at, now), now) == pytest.approx(1 / limit.per_second, abs=1e-6)


def test_it_fills_up_again_at_its_rate_and_not_beyond_its_burst() -> None:
    limit = Rate(10, 20)
    full_at = limit.spend(0.0, 100.0, 20)
    assert (limit.left(full_at, 100.0), limit.left(full_at, 100.05), limit.left(full_at, 100.1)) == (0, 0, 1)
    assert limit.wait(limit.spend(full_at, 100.05), 100.05) == pytest.approx(0.05)
    assert limit.wait(limit.spend(full_at, 100.1), 100.1) == 0
    assert (limit.left(full_at, 102.0), limit.left(full_at, 1000.0)) == (20, 20)


def test_what_was_waited_for_is_granted() -> None:
    buckets: Buckets[str] = Buckets()
    limit, now, granted = Rate(3, 7), 5.0, 0
    while now < 105.0:
        wait = buckets.take("a", limit, now)
        granted += not wait
        now += wait
    assert 7 + 300 <= granted <= 7 + 301


def test_each_key_has_a_bucket_of_its_own_and_a_refusal_costs_nothing() -> None:
    buckets: Buckets[str] = Buckets()
    limit = Rate(1, 2)
    assert [buckets.take("a", limit, 0.0) for _ in range(2)] == [0.0, 0.0]
    assert [buckets.take("a", limit, 0.0) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert buckets.take("b", limit, 0.0) == 0.0


def test_full_buckets_are_forgotten_and_others_are_not() -> None:
    buckets: Buckets[int] = Buckets()
    limit = Rate(1, 1)
    for key in range(1_000_000):
        buckets.take(key, limit, key / 100)
        assert len(buckets) <= 1024
    assert buckets.take(999_999, limit, 9999.99) > 0, "a bucket just taken from is remembered"


def test_memory_is_bounded_however_many_addresses_come() -> None:
    """More at once than can be remembered: they share what is left."""
    buckets: Buckets[int] = Buckets(limit=5000)
    for key in range(50_000):
        wait = buckets.take(key, Rate(0.001, 1), 0.0)
        assert key >= 5000 or not wait
        assert len(buckets) <= 5000 + SHARED


def test_a_flood_of_others_forgives_nothing() -> None:
    """A client with a whole network of addresses does not get a budget anew by using all of them."""
    buckets: Buckets[str] = Buckets(limit=1000, group=lambda key: key.partition("/")[0])
    limit = Rate(1, 3)
    for _ in range(3):
        buckets.take("honest/1", limit, 0.0)
        buckets.take("evil/0", limit, 0.0)
    granted = sum(not buckets.take(f"evil/{n}", limit, 0.1 + n / 1e6) for n in range(100_000))
    assert 998 <= granted <= 998 + limit.burst + 1
    assert buckets.take("honest/1", limit, 0.3) > 0
    assert buckets.take("evil/0", limit, 0.3) > 0
    assert buckets.take("evil/another", limit, 0.3) > 0, "one bucket for all that have none"
    assert buckets.take("stranger/1", limit, 0.3) == 0, "others have another"
    assert buckets.take("stranger/1", limit, 10.0) == 0, "and their own again when there is room"
    assert len(buckets) <= 3


@given(rates, st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.floats(0, 3)), max_size=200))
def test_no_key_gets_more_than_the_budget_whatever_others_do(
    limit: Rate, most: int, takes: list[tuple[int, float]]
) -> None:
    """A bucket that is not full stays as it is; those without one get what one bucket holds, all together."""
    buckets: Buckets[int] = Buckets(limit=most, group=lambda key: "all")
    now, owed, shared = 0.0, dict[int, float](), 0
    for key, pause in takes:
        now += pause
        wait = buckets.take(key, limit, now)
        before = owed.get(key, now)
        others = {other: full_at for other, full_at in owed.items() if other != key and full_at > now}
        assert others.items() <= buckets._full_at.items()
        if key in buckets._full_at:
            due = limit.spend(before, now)
            assert (wait == 0) is (limit.wait(due, now) == 0)
            assert buckets._full_at[key] == (before if wait else due)
        else:
            assert before <= now, "it had none that was not full"
            shared += not wait
        assert len(buckets) <= most + 1
        owed = dict(buckets._full_at)
    assert shared <= limit.burst + limit.per_second * now + 1
