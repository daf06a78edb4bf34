"""The parts of the ledger for what the settings name: one engine, or a cluster.

Owns the choice. Must not know what the parts do.
"""

from urllib.parse import parse_qsl, urlsplit

from server.ledger.cluster import ClusterEngine
from server.ledger.engine import Engine
from server.ledger.feed import Feed, Listener
from server.ledger.reader import Reader
from server.ledger.scattered import ScatteredReader, ScatteredWriter
from server.ledger.shards import ScatteredFeed
from server.ledger.store import Store
from server.ledger.writer import Writer


def is_cluster(url: str) -> bool:
    """Whether the URL names a node of a cluster."""
    return dict(parse_qsl(urlsplit(url).query)).get("cluster") == "true"


def open_store(url: str, replicas: int = 0, prefix: str = "") -> Store:
    """The link to what the URL names; so many ``replicas`` must confirm each write.

    ``prefix`` is the deployment's, see ``keys``.
    """
    if is_cluster(url):
        return ClusterEngine(url, replicas, prefix)
    return Engine(url, replicas, prefix)


def writer_of(store: Store) -> Writer | ScatteredWriter:
    """The one way by which reactions get into the store."""
    return ScatteredWriter(store) if isinstance(store, ClusterEngine) else Writer(store)


def reader_of(store: Store) -> Reader | ScatteredReader:
    """The one way by which stored state is read."""
    return ScatteredReader(store) if isinstance(store, ClusterEngine) else Reader(store)


def feed_of(store: Store, listener: Listener) -> Feed | ScatteredFeed:
    """What the store publishes."""
    if isinstance(store, ClusterEngine):
        return ScatteredFeed(store, listener)
    assert isinstance(store, Engine)
    feed = Feed(store, listener, store.namespace)
    store.moved = feed.reconnect
    return feed
