"""Every store that there is: each implementation, on each product that can be its engine."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import Store

from tests.support.cluster import cluster
from tests.support.engine import private_engine


@pytest.fixture(
    scope="package", params=["standalone-valkey", "standalone-redis", "cluster-valkey", "cluster-redis"]
)
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a running engine or cluster."""
    kind, product = request.param.split("-")
    if kind == "standalone":
        with private_engine(product) as url:
            yield url
    else:
        with cluster(product=product) as ring:
            yield ring.url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A store that serves, and in which earlier tests may have left keys."""
    store = open_store(store_url)
    await wait_until_ready(store, 10.0)
    yield store
    await store.close()
