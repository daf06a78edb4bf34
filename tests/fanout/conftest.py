"""A hub."""

import pytest

from tests.fanout.support import Setup


@pytest.fixture
def setup() -> Setup:
    return Setup()
