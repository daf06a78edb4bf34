"""A session."""

import pytest

from tests.session.support import Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()
