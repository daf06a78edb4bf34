"""Metrics for Prometheus, on a listener of their own.

Owns their form and the listener. Must not know what the numbers mean, nor how workers are asked: it is given
a function that brings what all of them know, and that waits for none that hangs.
"""

from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tallycast.contract.errors import StartError
from tallycast.observability.measures import SERVER_METRICS, WORKERS_METRICS, Distribution, Snapshot
from tallycast.process.listener import refused

PREFIX = "tallycast_"
FLAGS = "--metrics-"


class Listener:
    """Serves ``/metrics`` on ``host`` and ``port`` from threads of its own, until ``close``.

    ``look`` is called in one of those threads for each scrape.

    Raises:
        StartError: the address cannot be used.
    """

    def __init__(self, host: str, port: int, look: Callable[[], Snapshot]) -> None:
        registry = CollectorRegistry()
        registry.register(_Metrics(look))
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise StartError(refused(error, host, port, FLAGS)) from error
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Metrics(Collector):
    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look

    # A registry asks for this before anybody is there who could be looked at.
    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return families(self._look())


def families(found: Snapshot) -> Iterable[Metric]:
    """The metrics in Prometheus' form."""
    for name, kind, text, label in (*WORKERS_METRICS, *SERVER_METRICS):
        full, labels = PREFIX + name, [label] if label else []
        if kind == "histogram":
            # Without any worker there are no buckets to be shown.
            if name in found.histograms:
                yield _histogram(full, text, found.histograms[name])
            continue
        counter = kind == "counter"
        family = (CounterMetricFamily if counter else GaugeMetricFamily)(full, text, labels=labels)
        values = (found.counters if counter else found.gauges).get(name, {})
        for value in values:
            family.add_metric([value] if label else [], values[value])
        yield family


def _histogram(name: str, text: str, found: Distribution) -> Metric:
    bounds = [*map(str, found.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(found.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets, found.total)
