"""Prometheus metrics of any server: scraped and added up; a URL without any fails at the start."""

import asyncio

import pytest
from tallycast_load.client.metrics import Metrics
from tallycast_load.coordinator.run import Result
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import make
from tallycast_load.report import charts

from tests.load.fake import Fake

EXPOSITION = """\
# HELP reactions Reactions.
# TYPE reactions counter
reactions_total{code="ok"} %d
reactions_total{code="refused"} 5
# TYPE reactions_created gauge
reactions_created 1.7e9
# HELP seconds How long "it" took.
# TYPE seconds histogram
seconds_bucket{le="0.1"} 1
seconds_bucket{le="+Inf"} 2
seconds_count 2
seconds_sum 0.25
# TYPE connections gauge
connections 3
# TYPE odd gauge
odd NaN
anything 7 1700000000000
# EOF
"""


def test_what_is_said_is_added_up_over_labels() -> None:
    metrics = Metrics("127.0.0.1:9")
    metrics.add(EXPOSITION % 10, 1.0)
    metrics.add(EXPOSITION % 30, 2.0)
    found = {name: (series.counter, series.values) for name, series in metrics.series.items()}
    assert found == {
        "reactions_total": (True, [(1.0, 15.0), (2.0, 35.0)]),
        "seconds_count": (True, [(1.0, 2.0), (2.0, 2.0)]),
        "seconds_sum": (True, [(1.0, 0.25), (2.0, 0.25)]),
        "connections": (False, [(1.0, 3.0), (2.0, 3.0)]),
        "anything": (False, [(1.0, 7.0), (2.0, 7.0)]),
    }
    assert metrics.series["seconds_sum"].help == 'How long "it" took.'


@pytest.mark.parametrize(
    "url",
    ["ftp://tally.example", "http://", "http://[::1", "http://tally.example:x", "http://u:p@tally.example"],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(LoadError, match=r"^--metrics: expected a URL such as .*, not '"):
        Metrics(url)


def test_rates_and_means_are_drawn_and_what_never_changed_is_not() -> None:
    metrics = Metrics("127.0.0.1:9")
    for at, (counted, took) in enumerate([(2, 0.25), (4, 0.75), (8, 0.95)]):
        text = (EXPOSITION % (10 * counted)).replace("_count 2", f"_count {counted}")
        metrics.add(text.replace("_sum 0.25", f"_sum {took}"), float(at))
    result = Result(make({}, None, private=True), "http://127.0.0.1:9", 1, 0.0, metrics=metrics)
    drawn = {name: answer for name, answer, svg in charts.metrics(result) if svg.startswith("<svg")}
    assert drawn == {
        "reactions_total": "at most 40/s",
        "seconds_count": "at most 4/s",
        "seconds, mean": "at most 0.25",
    }


async def test_an_address_without_metrics_is_reported_before_the_load() -> None:
    async with Fake() as fake:
        # Without a path it is the usual one.
        metrics = Metrics(fake.url.removeprefix("http://"))
        await metrics.check()
        await metrics.scrape(1.0)
        assert metrics.series.keys() == {"fake_reactions_total"}
        for path, why in (("/v1/items", "expected Prometheus metrics"), ("/nope", "HTTP Error 404: X")):
            with pytest.raises(LoadError) as caught:
                await Metrics(fake.url + path).check()
            assert str(caught.value) == f"--metrics {fake.url}{path}: {why}"
        with pytest.raises(
            LoadError, match=r": expected an HTTP response: URL can't contain control characters"
        ):
            await Metrics(fake.url + "/a path").check()
    with pytest.raises(LoadError) as caught:
        await metrics.check()
    assert str(caught.value) == f"--metrics {fake.url}/metrics: connection refused"
    # Later it is only counted: the load goes on.
    await metrics.scrape(2.0)
    assert metrics.missed == 1


async def test_a_port_that_speaks_something_else_has_no_metrics() -> None:
    """Such as the engine's; one that begins to do so during the load is only counted."""

    def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        metrics = Metrics(f"127.0.0.1:{port}")
        with pytest.raises(LoadError) as caught:
            await metrics.check()
        answer = f"--metrics http://127.0.0.1:{port}/metrics: expected an HTTP response: -ERR unknown command"
        assert str(caught.value) == answer
        await metrics.scrape(1.0)
        assert metrics.missed == 1
