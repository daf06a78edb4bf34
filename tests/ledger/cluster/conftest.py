"""The ledger on a cluster, in place of a single engine."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready

from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="package")
def ring() -> Iterator[Cluster]:
    """A cluster for all tests here that do no harm to its nodes."""
    with cluster() as ring:
        yield ring


@pytest.fixture
async def store(ring: Cluster) -> AsyncIterator[ClusterStore]:
    """A store on the cluster, with nothing in it."""
    for node in ring.primaries:
        node.do("FLUSHALL")
        node.do("SCRIPT", "FLUSH")
    store = open_store(ring.url)
    assert isinstance(store, ClusterStore)
    await wait_until_ready(store, 10.0)
    yield store
    await store.close()


@pytest.fixture
def link(store: ClusterStore) -> ClusterStore:
    """What ``writer`` and ``reader`` are built on."""
    return store
