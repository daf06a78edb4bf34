"""A link to a real engine for the ledger's tests."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tallycast.engine.standalone import Engine
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Writer

from tests.ledger.support import raw


@pytest.fixture
async def link(engine: str) -> AsyncIterator[Engine]:
    link = Engine(engine)
    yield link
    await link.close()


@pytest.fixture
async def client(engine: str) -> AsyncIterator[Any]:
    client = raw(engine)
    yield client
    await client.aclose()


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
