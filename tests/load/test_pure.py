"""The pure rooms: amounts, spreads, schedules, thresholds, sightings, the book, the oracle's exceptions."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast.contract import frames
from tallycast.contract.errors import LoadError
from tallycast_load import faults, health, limits, schedule, units
from tallycast_load.book import MAY_LINGER, Book, Sent
from tallycast_load.faults import Faults
from tallycast_load.frames import end_of_frame, payload
from tallycast_load.latency import Latencies
from tallycast_load.oracle import Check, without_lateness
from tallycast_load.plan import make
from tallycast_load.schedule import Stage
from tallycast_load.sightings import NOTHING, READERS, Carried, Seen, Sightings, groups_of
from tallycast_load.spread import Picker, Spread
from tallycast_load.target import Target
from tallycast_load.thresholds import Threshold

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.duration, "60s", 60.0),
        (units.duration, "250ms", 0.25),
        (units.duration, "2m", 120.0),
        (units.duration, 5, 5.0),
        (units.rate, "500/s", 500.0),
        (units.rate, "2k/s", 2000.0),
        (units.rate, "30/m", 0.5),
        (units.share, "1%", 0.01),
        (units.share, 0.000001, 0.000001),
        (units.count, "20k", 20_000),
        (units.count, "10_000", 10_000),
    ],
)
def test_amounts(read: object, text: object, value: float) -> None:
    assert read(text) == pytest.approx(value)  # type: ignore[operator]


@pytest.mark.parametrize("read", [units.duration, units.rate, units.share, units.count])
@pytest.mark.parametrize("wrong", ["", "x", "-1", "1 parsec", None, True, "1e3", "١"])
def test_what_is_no_amount(read: object, wrong: object) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        read(wrong)  # type: ignore[operator]


@pytest.mark.parametrize("text", ["uniform", "zipf:1.1", "zipf:0", "hot:0.9", "hot:1"])
def test_weights_sum_to_one_and_never_rise(text: str) -> None:
    weights = Spread.parse(text).weights(50)
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    assert str(Spread.parse(text)) == text


def test_the_hot_item_gets_its_share() -> None:
    pick, chance = Picker(Spread("hot", 0.9), 10).one, random.Random(1)
    found = Counter(pick(chance.random()) for _ in range(20_000))
    assert found[0] / 20_000 == pytest.approx(0.9, abs=0.01)
    assert found.keys() == set(range(10))


@given(st.integers(1, 40), st.integers(1, 40), st.integers())
def test_several_are_different(items: int, number: int, seed: int) -> None:
    found = Picker(Spread("hot", 1.0), items).several(number, random.Random(seed).random)
    assert len(found) == len(set(found)) == min(items, number)


def test_fixed_reactions_are_evenly_spaced_and_the_same_for_the_same_seed() -> None:
    crowd = schedule.Crowd(10, 5, Spread("uniform"))
    stages = schedule.steady(1.0, 2.0, 100.0)
    once = list(schedule.reactions(stages, crowd, 1, poisson=False))
    assert once == list(schedule.reactions(stages, crowd, 1, poisson=False))
    assert once != list(schedule.reactions(stages, crowd, 2, poisson=False))
    assert [due.at for due in once] == pytest.approx([number / 100 for number in range(300)])
    assert Counter(due.stage for due in once) == {0: 100, 1: 200}


def test_poisson_keeps_the_rate() -> None:
    crowd = schedule.Crowd(10, 5, Spread("uniform"))
    dues = list(schedule.reactions([Stage(0, 100, 50, 1)], crowd, 1, poisson=True))
    assert len(dues) == pytest.approx(5000, rel=0.05)
    assert [due.at for due in dues] == sorted(due.at for due in dues)


def test_bursts_lie_at_the_end_of_each_period() -> None:
    stages = schedule.bursts(schedule.steady(2.0, 25.0, 10.0), 10.0, 1.0, 500.0)
    assert [(stage.start, stage.end) for stage in stages if stage.rate == 500.0] == [(11, 12), (21, 22)]
    assert sum(stage.end - stage.start for stage in stages) == pytest.approx(27.0)


def test_steps_climb_while_they_fit() -> None:
    stages = schedule.steps(5.0, 25.0, 100.0, 2.0, 10.0)
    assert [(stage.number, stage.rate) for stage in stages] == [(0, 100.0), (1, 100.0), (2, 200.0)]


def test_everybody_drops_in_a_storm() -> None:
    drops = list(schedule.drops(20, 0.0, 30.0, [10.0, 99.0], 1))
    assert [(drop.at, drop.connection) for drop in drops] == [(10.0, number) for number in range(20)]
    churn = list(schedule.drops(20, 5.0, 30.0, [10.0], 1))
    assert [drop.at for drop in churn] == sorted(drop.at for drop in churn)
    assert len(churn) == pytest.approx(170, abs=40)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("p99<50ms", 0.049, True),
        ("p99<50ms", 0.05, False),
        ("ack.max<=1s", 1.0, True),
        ("errors<1%", 0.02, False),
        ("p50<1s", None, False),
    ],
)
def test_thresholds(text: str, value: float | None, holds: bool) -> None:
    assert Threshold.parse(text).holds(value) is holds


@given(st.binary(max_size=70_000), st.binary(max_size=20))
def test_frames_are_taken_apart_where_they_end(body: bytes, more: bytes) -> None:
    frame = frames.frame(frames.TEXT, body)
    assert end_of_frame(frame + more, 0) == len(frame)
    assert payload(frame) == body
    assert end_of_frame(frame[:-1], 0) is None


def seen(version: int, first: int = 0) -> Seen:
    return Seen(0, version, {}, False, first)


def test_a_frame_carries_what_lies_between_it_and_the_one_before() -> None:
    measured: list[tuple[int, int, int]] = []
    sightings = Sightings(lambda stage, ns, weight: measured.append((stage, ns, weight)), lambda: None)
    for version, intended, connection, stage in ((10, 100, 1, 1), (20, 200, 2, 1), (30, 300, 3, 0)):
        sightings.learn(0, Carried(version, intended, connection, stage))
    frame = seen(30, first=500)
    frame.previous = seen(10)
    frame.times = [1000, 1100]
    frame.odd = [(5, 2000)]  # has skipped a frame
    frame.own = [(10, 3000, 2)]  # whose own the reaction is
    sightings.follow(frame)
    assert sightings.settle(400, 4000) == []
    assert measured == [], "a reaction of before may still be unknown"
    sightings.settle(501, 4000)
    assert sorted(measured) == [(1, 800, 1), (1, 900, 1), (1, 1800, 1), (1, 1900, 1)]
    assert sightings.updates == 4


def test_what_changed_nothing_is_not_measured() -> None:
    measured: list[int] = []
    sightings = Sightings(lambda stage, ns, weight: measured.append(ns), lambda: None)
    sightings.learn(0, Carried(10, 5000, 1, 1))
    frame = seen(10)
    frame.previous, frame.times = NOTHING, [1000]
    sightings.follow(frame)
    sightings.settle(1, 1)
    assert measured == []


def test_many_readers_are_counted_in_groups_by_their_slowest() -> None:
    measured: list[tuple[int, int]] = []
    sightings = Sightings(lambda stage, ns, weight: measured.append((ns, weight)), lambda: None)
    sightings.learn(0, Carried(10, 0, -1, 1))
    frame = seen(10)
    frame.previous, frame.times = NOTHING, list(range(1, 10_001))
    sightings.follow(frame)
    sightings.settle(1, 1)
    assert len(measured) == READERS
    assert sum(weight for _, weight in measured) == 10_000
    assert max(measured)[0] == 10_000


@given(st.integers(1, 5000), st.integers(1, 100))
def test_groups_cover_everything_once(number: int, most: int) -> None:
    groups = groups_of(number, most)
    assert [start for start, _ in groups] == [0, *(end for _, end in groups[:-1])]
    assert groups[-1][1] == number
    assert len(groups) == min(number, most)


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


def test_latencies_survive_the_way_between_processes() -> None:
    one, other = Latencies(), Latencies()
    for value in range(1, 1001):
        one.record(value * 1_000_000)
    other.record(2 * SECOND, 10)
    one.add(Latencies(other.encode()))
    assert one.count == 1010
    assert one.at(50) == pytest.approx(0.505, rel=0.01)
    assert one.at(100) == pytest.approx(2.0, rel=0.01)
    assert Latencies().at(50) is None
    assert [seconds for _, seconds in one.curve()] == sorted(seconds for _, seconds in one.curve())


def test_a_late_generator_is_told_with_what_to_change() -> None:
    assert health.complaints(1000, 10, [0.5], 2, shared=True) == []
    (late,) = health.complaints(1000, 11, [0.5], 2, shared=True)
    assert "1.10 % of the reactions left more than 10 ms after they were due" in late
    assert "a machine of its own (here both share 2 cores)" in late
    assert "with more cores" in health.complaints(1000, 11, [0.5], 2, shared=False)[0]
    (busy,) = health.complaints(1000, 0, [0.99], 4, shared=True)
    assert "raise --processes (now 1, here are 4 cores)" in busy
    assert "raise --processes" not in health.complaints(1000, 0, [0.99], 1, shared=True)[0]


def test_limits_of_the_server_are_told_with_what_to_change() -> None:
    assert limits.reactions({"unavailable": 3}, 5) == []
    (line,) = limits.reactions({"rate_limited": 3000}, 5)
    assert "refused 3,000 reactions (rate_limited)" in line
    assert "more --visitors (now 5)" in line
    assert limits.connections({"connection refused": 3, "closed with code 4500 before it was ready": 1}) == []
    (line,) = limits.connections({faults.CUT: 18})
    assert "cut off 18 connections" in line
    assert "open files" in line
    refused = (
        "the upgrade was refused: server rejected WebSocket connection: HTTP 429",
        "the upgrade was refused: server rejected WebSocket connection: HTTP 503",
        "GET /v1/stream was answered 429",
        "closed with code 4003 before it was ready",
        "rate_limited: too many",
    )
    (line,) = limits.connections(dict.fromkeys(refused, 2))
    assert "refused 10 connections" in line


def test_only_lateness_is_forgiven() -> None:
    checks = [
        Check(name, "", passed, "", [])
        for name, passed in (("acked", False), ("converged", False), ("answers", False), ("counts", True))
    ]
    late, twice = Faults(), Faults()
    late.add(faults.UNANSWERED, "x")
    twice.add(faults.ANSWERED_TWICE, "x")
    assert [check.passed for check in without_lateness(checks, late)] == [False, None, None, True]
    assert [check.passed for check in without_lateness(checks, twice)] == [False, None, False, True]


def test_flags_win_over_the_scenario_and_it_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('about = "x"\nconnections = 7\nitems = 3\nthreshold = ["p99<1s"]\n')
    plan = make({"items": "9"}, file, private=True)
    assert (plan.connections, plan.items, plan.reactions) == (7, 9, 500.0)
    assert plan.people == 7
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"watch": "5", "items": "3"}, "watch: a connection cannot watch 5 of 3 items"),
        (
            {"visitors": "9", "connections": "8"},
            "visitors: at most one for each connection that reads, here 8",
        ),
        (
            {"transport": "sse", "watch": "101", "items": "200"},
            "watch: an event stream carries at most 100 items",
        ),
        ({"slow": "100%"}, "slow: nobody is left who reads"),
    ],
)
def test_what_does_not_fit_together(flags: dict[str, str], line: str) -> None:
    with pytest.raises(LoadError) as caught:
        make(flags, None, private=False)
    assert str(caught.value) == line


def test_many_connections_to_this_machine_come_from_several_addresses() -> None:
    assert Target.parse("http://127.0.0.1:1").sources(20_000) == [
        "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4",
    ]  # fmt: skip
    assert Target.parse("http://127.0.0.1:1").sources(1000) == []
    assert Target.parse("http://[::1]:1").sources(20_000) == []
    assert Target.parse("https://127.0.0.1/tally/").websocket("a b") == "wss://127.0.0.1/tally/ws?site=a%20b"
