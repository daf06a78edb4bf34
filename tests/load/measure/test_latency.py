"""Histograms of latencies."""

import pytest
from tallycast_load.measure.latency import LONGEST, Latencies

SECOND = 1_000_000_000


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


def test_what_is_longer_than_the_range_is_counted_as_its_end() -> None:
    latencies = Latencies()
    latencies.record(LONGEST * 10_000)
    latencies.record(-1)
    assert latencies.count == 2
    assert latencies.at(100) == pytest.approx(LONGEST / 1e6, rel=0.001)
