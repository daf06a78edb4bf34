"""The store that the settings name: standalone or cluster.

Owns the choice. Does not depend on what is stored there.
"""

from urllib.parse import parse_qsl, urlsplit

from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store


def is_cluster(url: str) -> bool:
    """Whether the URL names a node of a cluster."""
    return dict(parse_qsl(urlsplit(url).query)).get("cluster") == "true"


def open_store(url: str, replicas: int = 0, prefix: str = "") -> Store:
    """A link to the engine or cluster at ``url``; it connects when it is used.

    Args:
        replicas: how many must confirm each commit.
        prefix: the deployment's key prefix, see ``keys``.
    """
    return (ClusterStore if is_cluster(url) else StandaloneStore)(url, replicas, prefix)
