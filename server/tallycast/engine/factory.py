"""The engine that the settings name: standalone or cluster.

Owns the choice. Does not depend on what is stored there.
"""

from urllib.parse import parse_qsl, urlsplit

from tallycast.engine.cluster.feed import ClusterFeed
from tallycast.engine.cluster.store import ClusterEngine
from tallycast.engine.feed import Feed, Listener
from tallycast.engine.standalone import Engine
from tallycast.engine.store import Store


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


def feed_of(store: Store, listener: Listener) -> Feed | ClusterFeed:
    """What the store publishes."""
    if isinstance(store, ClusterEngine):
        return ClusterFeed(store, listener)
    assert isinstance(store, Engine)
    feed = Feed(store, listener, store.namespace)
    store.moved = feed.reconnect
    return feed
