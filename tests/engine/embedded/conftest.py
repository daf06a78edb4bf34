"""An embedded engine in place of one that runs already."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tallycast.engine.embedded.server import EmbeddedEngine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    """An engine that is not started yet."""
    engine = EmbeddedEngine(tmp_path / "data")
    yield engine
    await engine.stop()
