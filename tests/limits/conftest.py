"""A server on which every limit is low."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.conftest import listed
from tests.support.process import ServerProcess

# fmt: off
FLAGS = [
    "--connections", "40", "--address-connections", "6", "--address-arrivals", "1/m burst 10",
    "--address-requests", "1/m burst 30", "--address-visitors", "1/m burst 3", "--request-within", "1.5",
]
# fmt: on
ADMIN_KEY = "the right key"
SITES = f"""
[sites.default]
origins = ["*"]
admin_keys = ["sha256:{sha256(ADMIN_KEY.encode()).hexdigest()}"]

[sites.default.limits]
items_a_message = 10
items_a_connection = 20
messages = "1/m burst 30"
ids = "1/m burst 25"
reactions = "1/m burst 5"
new_items = "1/m burst 100"

[sites.few]
origins = ["*"]
items = "posts/[0-9]+"

[sites.few.limits]
new_items = "1/m burst 2"
"""


@pytest.fixture(scope="session")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server where everything is scarce; each test uses addresses and visitors of its own."""
    folder = tmp_path_factory.mktemp("tight")
    config = folder / "tallycast.toml"
    config.write_text(SITES)
    with listed(ServerProcess(folder, flags=["--config", str(config), *FLAGS])) as process:
        yield process.start()
