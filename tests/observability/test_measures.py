"""Plain numbers, and several processes' put together."""

from tallycast.observability.measures import (
    SERVER_METRICS,
    WORKERS_METRICS,
    Distribution,
    Histogram,
    Snapshot,
)


def test_a_value_is_counted_where_it_is_no_more_than_the_bound() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2):
        histogram.add(value)
    histogram.add(3, times=4)
    assert histogram.counts == [2, 2, 4]
    assert histogram.total == 17.0


def snapshot(number: int) -> Snapshot:
    found = Snapshot()
    found.count("counter", {"a": number, "b": 1})
    found.gauge("gauge", {"": number})
    found.histogram("histogram", (1.0,), (number, 1), number / 2)
    return found


def test_numbers_of_processes_are_added_up() -> None:
    found = snapshot(1)
    found.add(snapshot(2))
    assert found.counters == {"counter": {"a": 3, "b": 2}}
    assert found.gauges == {"gauge": {"": 3}}
    assert found.histograms == {"histogram": Distribution([1.0], [3, 2], 1.5)}


def test_of_a_process_that_is_gone_only_what_it_counted_stays() -> None:
    found, gone = Snapshot(), snapshot(5)
    found.add(gone, gauges=False)
    assert found.counters == {"counter": {"a": 5, "b": 1}}
    assert found.gauges == {}
    found.add(gone)
    assert gone == snapshot(5), "adding changes one side only"


def test_names_are_unique() -> None:
    names = [metric.name for metric in (*WORKERS_METRICS, *SERVER_METRICS)]
    assert len(names) == len(set(names))
