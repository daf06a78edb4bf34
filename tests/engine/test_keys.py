"""Names: no two deployments have one in common, and each says what it is of."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from tallycast import ledger
from tallycast.domain.sites import SITE_NAME
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.keys import Name, Namespace, member
from tallycast.engine.standalone import StandaloneStore

PREFIXES = st.just("") | st.from_regex(r"[tc:._-]{1,5}|[a-z0-9._:-]{1,64}", fullmatch=True).filter(
    lambda text: "tc:" not in text
)
SITES = st.from_regex(SITE_NAME, fullmatch=True)
# What would be mistaken for something else, if anything was.
ITEMS = st.text(min_size=1, max_size=20) | st.text("{}@:.0g1tc", min_size=1)
MEMBERS = st.binary(min_size=16, max_size=16) | st.text("{}@:.01tc", min_size=16, max_size=16).map(str.encode)
NUMBERS = st.integers(0, 99)


def names(of: Namespace, site: str, item: str, visitor: bytes, number: int) -> tuple[set[bytes], set[bytes]]:
    """A name of each kind: keys, and channels."""
    keys = {
        of.item_key(site, item),
        of.bucket_key(site, item, number, number + 1),
        of.index_key(site, visitor),
        of.taken_key(site, visitor),
        of.nowhere_key(number),
        of.merges,
        of.revoked,
        of.auditor,
        of.trail,
        of.secret.encode(),
        of.layout.encode(),
    }
    channels = {
        of.item_channel(site, item),
        of.visitor_channel(site, visitor),
        of.heartbeat_channel(str(number)),
    }
    return keys, channels


@given(st.tuples(PREFIXES, NUMBERS), st.tuples(PREFIXES, NUMBERS), SITES, ITEMS, MEMBERS, NUMBERS)
def test_two_deployments_have_no_name_in_common(
    one: tuple[str, int], other: tuple[str, int], site: str, item: str, visitor: bytes, number: int
) -> None:
    item = item.encode(errors="replace").decode()
    keys, channels = names(Namespace(*one), site, item, visitor, number)
    assert (len(keys), len(channels)) == (11, 3)
    assert all(name.startswith(f"{one[0]}tc:".encode()) for name in keys | channels)
    assert all(name.endswith(b"@%d" % one[1]) for name in channels)
    if one != other:
        assert not channels & names(Namespace(*other), site, item, visitor, number)[1]
    if one[0] != other[0]:
        # Whatever the other's names are of.
        assert not any(name.startswith(f"{other[0]}tc:".encode()) for name in keys | channels)


@given(PREFIXES, NUMBERS, SITES, ITEMS, st.integers(1, 999))
def test_a_name_says_what_it_is_of(prefix: str, database: int, site: str, item: str, bucket: int) -> None:
    item = item.encode(errors="replace").decode()
    of = Namespace(prefix, database)
    key = of.item_key(site, item)
    assert of.parse(key) == Name(site, item, None, 0)
    assert of.parse(of.bucket_key(site, item, 3, bucket)) == Name(site, item, 3, bucket)
    assert of.item_channel(site, item) == key + of.channel_suffix
    # On a cluster a script may publish only on the node that has the item.
    assert key_slot(of.item_channel(site, item)) == key_slot(key) == key_slot(of.bucket_key(site, item, 1, 2))
    assert of.parse(of.index_key(site, member("u:1"))) is None


def test_the_database_is_that_of_the_url() -> None:
    ends = [
        StandaloneStore(url).namespace.channel_suffix
        for url in (
            "redis://h",
            "redis://h/0",
            "redis://h/7",
            "redis://h/2?db=12",
            "unix:///s?db=3",
            "unix:///s",
        )
    ]
    assert ends == [b"@0", b"@0", b"@7", b"@12", b"@3", b"@0"]
    assert (
        ClusterStore("redis://h?cluster=true&db=0", prefix="x:").namespace.item_key("s", "i") == b"x:tc:{s:i}"
    )


def test_no_other_module_makes_a_name() -> None:
    """So that none can forget the prefix."""
    package = Path(ledger.__file__).parents[1]
    files = [file for file in package.rglob("*") if file.suffix in (".py", ".lua") and file.name != "keys.py"]
    assert len(files) > 100
    assert [str(file) for file in files if re.search(r"[\"'}]tc:|tc:\{", file.read_text())] == []
