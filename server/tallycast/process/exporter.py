"""Metrics for Prometheus, on a port of their own.

Owns the exposition format and the listener. Does not depend on what the metrics mean, nor on how they are
collected from workers: a function that returns a snapshot is an argument.
"""

from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tallycast.config.errors import StartError
from tallycast.observability.measures import SERVER_METRICS, WORKERS_METRICS, Distribution, Snapshot
from tallycast.process.listener import refused

PREFIX = "tallycast_"
FLAGS = "--metrics-"


class MetricsServer:
    """Serves ``/metrics`` on ``host`` and ``port`` from threads of its own, until ``close``.

    ``collect`` is called in one of those threads for each scrape.

    Raises:
        StartError: the address cannot be used.
    """

    def __init__(self, host: str, port: int, collect: Callable[[], Snapshot]) -> None:
        registry = CollectorRegistry()
        registry.register(_Metrics(collect))
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise StartError(refused(error, host, port, FLAGS)) from error
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Metrics(Collector):
    def __init__(self, collect: Callable[[], Snapshot]) -> None:
        self._collect = collect

    # Called at registration, before any worker runs.
    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return families(self._collect())


def families(snapshot: Snapshot) -> Iterable[Metric]:
    """A snapshot as Prometheus' metric families."""
    for name, kind, text, label, _ in (*WORKERS_METRICS, *SERVER_METRICS):
        full, labels = PREFIX + name, [label] if label else []
        if kind == "histogram":
            # Without any worker there are no buckets.
            if name in snapshot.histograms:
                yield _histogram(full, text, snapshot.histograms[name])
            continue
        counter = kind == "counter"
        family = (CounterMetricFamily if counter else GaugeMetricFamily)(full, text, labels=labels)
        values = (snapshot.counters if counter else snapshot.gauges).get(name, {})
        for value in values:
            family.add_metric([value] if label else [], values[value])
        yield family


def _histogram(name: str, text: str, values: Distribution) -> Metric:
    bounds = [*map(str, values.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(values.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets, values.total)
