"""A server whose sites have admin keys."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.conftest import listed
from tests.support.process import ServerProcess

KEY, OTHER_KEY = "the admin key of the blog", "the admin key of the other site"


@pytest.fixture(scope="session")
def admin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two workers; the sites ``blog`` and ``other`` have a key each, ``bare`` has none."""
    folder = tmp_path_factory.mktemp("admin")
    file = folder / "tallycast.toml"
    keys = {"blog": [KEY], "other": [OTHER_KEY], "bare": []}
    digests = {site: [f"sha256:{sha256(key.encode()).hexdigest()}" for key in keys[site]] for site in keys}
    file.write_text(
        "".join(
            f'[sites.{site}]\norigins = ["https://blog.example"]\nadmin_keys = {known}\n'
            for site, known in digests.items()
        )
    )
    with listed(ServerProcess(folder, flags=["--workers", "2", "--config", str(file)])) as process:
        yield process.start()
