"""A link to a real engine for the ledger's tests."""

from collections.abc import AsyncIterator

import pytest
from tallycast.engine.standalone import Engine
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Writer


@pytest.fixture
async def writer(link: Engine) -> AsyncIterator[Writer]:
    writer = Writer(link)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(link: Engine) -> AsyncIterator[Reader]:
    reader = Reader(link)
    yield reader
    await reader.close()
