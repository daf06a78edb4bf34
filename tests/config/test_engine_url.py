"""What of an engine's URL may be shown."""

import pytest
from tallycast.config.engine_url import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:geheim@h:6379/0", "redis://:***@h:6379/0"),
        ("rediss://user:geheim@h", "rediss://user:***@h"),
        ("redis://user:ge:h@eim@h", "redis://user:***@h"),
        ("unix:///run/x.sock?db=1&password=geheim", "unix:///run/x.sock?db=1&password=***"),
        ("redis://[::1", "***"),
    ],
)
def test_a_url_to_show(url: str, shown: str) -> None:
    assert without_password(url) == shown
