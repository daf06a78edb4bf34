"""Latencies of updates, from frames and acknowledgements."""

from hypothesis import given
from hypothesis import strategies as st
from tallycast_load.measure.updates import (
    CONNECTION_GROUPS,
    FORGET_AFTER,
    KEEP_REACTIONS,
    NO_UPDATE,
    UNKNOWN,
    AckedReaction,
    Update,
    UpdateLatencies,
    groups_of,
)


def update(version: int, first: int = 0) -> Update:
    return Update(0, version, {}, False, first)


def test_a_frame_carries_what_lies_between_it_and_the_one_before() -> None:
    measured: list[tuple[int, int, int]] = []
    update_latencies = UpdateLatencies(
        lambda stage, ns, weight: measured.append((stage, ns, weight)), lambda: None
    )
    for version, intended, connection, stage in ((10, 100, 1, 1), (20, 200, 2, 1), (30, 300, 3, 0)):
        update_latencies.add_reaction(AckedReaction(0, version, intended, connection, stage))
    frame = update(30, first=500)
    frame.previous = update(10)
    frame.received = [1000, 1100]
    frame.received_after = [(5, 2000)]  # has skipped a frame
    frame.received_own = [(10, 3000, 2)]  # whose own reaction it is
    update_latencies.track(frame)
    assert update_latencies.record_until(400, 4000) == []
    assert measured == [], "a reaction of before may still be unknown"
    update_latencies.record_until(501, 4000)
    assert sorted(measured) == [(1, 800, 1), (1, 900, 1), (1, 1800, 1), (1, 1900, 1)]
    assert update_latencies.updates == 4


def test_what_changed_nothing_is_not_measured() -> None:
    measured: list[int] = []
    update_latencies = UpdateLatencies(lambda stage, ns, weight: measured.append(ns), lambda: None)
    update_latencies.add_reaction(AckedReaction(0, 10, 5000, 1, 1))
    frame = update(10)
    frame.previous, frame.received = NO_UPDATE, [1000]
    update_latencies.track(frame)
    update_latencies.record_until(1, 1)
    assert measured == []


def test_many_readers_are_counted_in_groups_by_their_slowest() -> None:
    measured: list[tuple[int, int]] = []
    update_latencies = UpdateLatencies(lambda stage, ns, weight: measured.append((ns, weight)), lambda: None)
    update_latencies.add_reaction(AckedReaction(0, 10, 0, -1, 1))
    frame = update(10)
    frame.previous, frame.received = NO_UPDATE, list(range(1, 10_001))
    update_latencies.track(frame)
    update_latencies.record_until(1, 1)
    assert len(measured) == CONNECTION_GROUPS
    assert sum(weight for _, weight in measured) == 10_000
    assert max(measured)[0] == 10_000


@given(st.integers(1, 5000), st.integers(1, 100))
def test_groups_cover_everything_once(number: int, most: int) -> None:
    groups = groups_of(number, most)
    assert [start for start, _ in groups] == [0, *(end for _, end in groups[:-1])]
    assert groups[-1][1] == number
    assert len(groups) == min(number, most)


def test_what_no_reader_can_see_any_more_is_forgotten_and_nothing_else() -> None:
    measured: list[int] = []
    update_latencies = UpdateLatencies(lambda stage, ns, weight: measured.append(ns), lambda: None)
    update_latencies.add_reaction(AckedReaction(0, 10, 0, -1, 1))
    before, frame = Update(0, 5, {}, False, 0), Update(0, 10, {}, False, 1)
    update_latencies.trim(KEEP_REACTIONS)
    frame.previous, frame.received = before, [7]
    update_latencies.track(frame)
    assert update_latencies.record_until(2, FORGET_AFTER + 1) == []
    assert measured == [7]
    assert update_latencies.record_until(2, FORGET_AFTER + 1) == [], "a connection may still receive it"
    assert update_latencies.record_until(2, FORGET_AFTER + 2) == [frame]
    # It has no usual reader any more: it is decoded again if it comes.
    assert frame.previous is UNKNOWN
    update_latencies.trim(KEEP_REACTIONS + 1)
    late = Update(0, 10, {}, False, 1)
    late.previous, late.received = before, [9]
    update_latencies.track(late)
    update_latencies.record_until(2, 3)
    assert measured == [7]


def test_the_groups_of_reactions_weigh_what_they_stand_for() -> None:
    measured: list[tuple[int, int]] = []
    update_latencies = UpdateLatencies(lambda stage, ns, weight: measured.append((ns, weight)), lambda: None)
    for number in range(1, 101):
        update_latencies.add_reaction(AckedReaction(0, number, number, -1, 1))
    frame = Update(0, 100, {}, False, 0)
    frame.previous, frame.received = Update(0, 0, {}, False, 0), [1000]
    update_latencies.track(frame)
    update_latencies.record_until(1, 1)
    assert sum(weight for _, weight in measured) == 100
    assert max(measured)[0] == 999
