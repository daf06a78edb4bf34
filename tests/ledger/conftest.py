"""A link to a real engine for the ledger's tests."""

from collections.abc import AsyncIterator

import pytest
from tallycast.engine.store import Store
from tallycast.ledger.reader import Reader, StandaloneReader
from tallycast.ledger.writer import StandaloneWriter, Writer


@pytest.fixture
async def writer(link: Store) -> AsyncIterator[Writer]:
    writer = StandaloneWriter(link)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(link: Store) -> AsyncIterator[Reader]:
    reader = StandaloneReader(link)
    yield reader
    await reader.close()
