"""A server's metrics, as Prometheus reads them."""

import re
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import ServerProcess

FLAGS = ("--metrics-port", "0")


class Scrape(dict[tuple[str, str], float]):
    """All samples at one moment, by name and by the value of the label (empty: it has none)."""

    def get_one(self, name: str, label: str = "") -> float:
        """One sample; the prefix of the name is added."""
        return self["tallycast_" + name, label]

    def total(self, name: str) -> float:
        """A metric over all of its labels."""
        return sum(value for (sample, _), value in self.items() if sample == "tallycast_" + name)


def url(server: ServerProcess) -> str:
    """Where the server says its metrics are, since its last start."""
    return re.findall(r"Metrics:\s+(\S+)", server.output())[-1]


def scrape(server: ServerProcess) -> Scrape:
    """Look once."""
    with urllib.request.urlopen(url(server), timeout=30) as answer:
        text = answer.read().decode()
    found = Scrape()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, next(iter(sample.labels.values()), "")] = sample.value
    return found
