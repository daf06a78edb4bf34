"""The ledger on a cluster, in place of a single engine."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready
from tallycast.ledger.cluster.reader import ClusterReader
from tallycast.ledger.cluster.writer import ClusterWriter

from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="package")
def ring() -> Iterator[Cluster]:
    """A cluster for all tests here that do no harm to its nodes."""
    with cluster() as ring:
        yield ring


@pytest.fixture
async def store(ring: Cluster) -> AsyncIterator[ClusterStore]:
    for node in ring.primaries:
        node.do("FLUSHALL")
        node.do("SCRIPT", "FLUSH")
    store = open_store(ring.url)
    assert isinstance(store, ClusterStore)
    await wait_until_ready(store, 10.0)
    yield store
    await store.close()


@pytest.fixture
async def writer(store: ClusterStore) -> AsyncIterator[Any]:
    writer = ClusterWriter(store)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(store: ClusterStore) -> AsyncIterator[Any]:
    reader = ClusterReader(store)
    yield reader
    await reader.close()
