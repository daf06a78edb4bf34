"""Measures the engine's memory for each reaction, in the ledger's layout and in others.

Usage: python tools/ledger_memory.py [--members N] [--binary PROGRAM]. Prints the tables of docs/storage.md,
in bytes. Every row is a fresh engine, filled, and then its ``used_memory``. Rows that begin with "buckets of"
use the server's own script. The index of a visitor is not included: all reactions share one, which is removed
before.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack
from redis import Redis
from redis.exceptions import RedisError
from tallycast.engine import keys
from tallycast.engine.embedded.server import find_binary
from tallycast.engine.keys import LAYOUT_VERSION, Namespace
from tallycast.engine.scripts import Script
from tallycast.ledger.layout import LUA
from tallycast.ledger.writer import UNLIMITED

BATCH = 500
SITE, ITEM = "blog", "posts/2026/a-title-of-usual-length"
LONG = "x" * 256
NAMES = Namespace()
INDEX = NAMES.index_key(SITE, keys.member("u:1"))
NO_DEADLINE = 2**53
VERSION = 1767225600000000

Fill = Callable[[Any, int], None]


@contextmanager
def engine(binary: Path) -> Iterator[Any]:
    """Start an empty engine, and yield a client of it."""
    with tempfile.TemporaryDirectory(prefix="tallycast-") as folder:
        socket = f"{folder}/s"
        process = subprocess.Popen(
            [binary, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        client: Any = Redis(unix_socket_path=socket)
        try:
            while not _answers(client):
                time.sleep(0.02)
            yield client
        finally:
            client.close()
            process.kill()
            process.wait()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def used(client: Any) -> int:
    """Return the bytes in use, without the index and what is being freed in the background."""
    client.delete(INDEX)
    while client.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.05)
    return int(client.info("memory")["used_memory"])


def digest(number: int, size: int = 16) -> bytes:
    """Return the digest of a visitor."""
    return blake2b(str(number).encode(), digest_size=size).digest()


def one_hash(size: int, value: str) -> Fill:
    """Return a fill that stores all members of an item in one hash."""

    def fill(client: Any, members: int) -> None:
        for start in range(0, members, BATCH):
            numbers = range(start, min(start + BATCH, members))
            client.hset(NAMES.item_key(SITE, ITEM), mapping={digest(n, size): value for n in numbers})

    return fill


def even_buckets(size: int, value: str, spread: int) -> Fill:
    """Return a fill with buckets of ``spread`` members, all of them there from the start."""

    def fill(client: Any, members: int) -> None:
        buckets = max(1, members // spread)
        for start in range(0, members, BATCH):
            with client.pipeline(transaction=False) as pipe:
                for number in range(start, min(start + BATCH, members)):
                    member = digest(number, size)
                    bucket = NAMES.bucket_key(SITE, ITEM, 0, int.from_bytes(member[:4]) % buckets)
                    pipe.hset(bucket, member, value)
                pipe.execute()

    return fill


def ours(spread: int | None = None, item: str = ITEM) -> Fill:
    """Return a fill through the server's own script, with its size of buckets or another."""
    script = Script(LUA, "react.lua", "layout.lua").text
    if spread is not None:
        script = re.sub(r"(?<=^local SPREAD = )\d+$", str(spread), script, flags=re.MULTILINE)

    def fill(client: Any, members: int) -> None:
        sha = client.script_load(script)
        for start in range(0, members, BATCH):
            flat = [
                word
                for n in range(start, min(start + BATCH, members))
                for word in (1, digest(n), "like", 1, 0)
            ]
            _react(client, sha, [item], flat)

    return fill


def our_items(client: Any, items: int) -> None:
    """Store items with one reaction each, through the server's own script."""
    sha = client.script_load(Script(LUA, "react.lua", "layout.lua").text)
    for start in range(0, items, BATCH):
        numbers = range(start, min(start + BATCH, items))
        flat = [word for k, n in enumerate(numbers) for word in (k + 1, digest(n), "like", 1, 0)]
        _react(client, sha, [_name(n) for n in numbers], flat)


def plain_items(*commands: Callable[[int], list[Any]]) -> Fill:
    """Return a fill that stores items with one reaction each, by plain commands."""

    def fill(client: Any, items: int) -> None:
        for start in range(0, items, BATCH):
            with client.pipeline(transaction=False) as pipe:
                for number in range(start, min(start + BATCH, items)):
                    for command in commands:
                        pipe.execute_command(*command(number))
                pipe.execute()

    return fill


def _name(number: int) -> str:
    return f"{ITEM}/{number:07}"


def _key(number: int) -> bytes:
    return NAMES.item_key(SITE, _name(number))


def _react(client: Any, sha: str, items: list[str], flat: list[Any]) -> None:
    known = [(NAMES.visitor_channels(SITE), UNLIMITED, "like", "dislike")]
    packed = msgpack.packb([known, [(1, item) for item in items], flat], use_bin_type=False)
    names = [NAMES.item_key(SITE, item) for item in items]
    client.evalsha(sha, len(names) + 1, *names, INDEX, NO_DEADLINE, packed, NAMES.channel_suffix)


def table(binary: Path, title: str, count: int, rows: dict[str, Fill]) -> None:
    """Measure and print one table: a row for each fill."""
    print(f"\n| {title} | bytes each | keys | not compact | largest |\n| --- | ---: | ---: | ---: | ---: |")
    for name, fill in rows.items():
        with engine(binary) as client:
            # The memory of the script and its first run is not counted.
            ours()(client, 1)
            client.delete(NAMES.item_key(SITE, ITEM))
            before = used(client)
            fill(client, count)
            each = (used(client) - before) / count
            sample = [client.randomkey() for _ in range(1000)]
            hashes = {key for key in sample if client.type(key) == b"hash"}
            loose = sum(client.object("encoding", key) != b"listpack" for key in hashes)
            largest = max((client.hlen(key) for key in hashes), default=0)
            share = f"{loose / max(1, len(hashes)):.0%}"
            print(f"| {name} | {each:.1f} | {client.dbsize():,} | {share} | {largest:,} |", flush=True)


def one_item() -> dict[str, Fill]:
    """Return the fills of the table about one item with many reactions."""
    return {
        "one hash, 16-byte digest, name of the kind (before)": one_hash(16, "like"),
        "one hash, 16-byte digest, number": one_hash(16, "1"),
        "one hash, 8-byte digest, number": one_hash(8, "1"),
        "64 to a bucket, fixed, 16-byte digest, name": even_buckets(16, "like", 64),
        "64 to a bucket, fixed, 8-byte digest, number": even_buckets(8, "1", 64),
        "buckets of 16, 16-byte digest, number": ours(16),
        "**buckets of 40, 16-byte digest, number: this layout**": ours(),
        "the same, its id of 256 bytes": ours(item=LONG),
        "buckets of 64, 16-byte digest, number": ours(64),
        "buckets of 100, 16-byte digest, number": ours(100),
    }


def many_items() -> dict[str, Fill]:
    """Return the fills of the table about many items with one reaction each."""
    state = msgpack.packb([VERSION, {"like": 1}])
    return {
        "its key alone, with nothing in it": plain_items(lambda n: ["SET", _key(n), ""]),
        "one hash: state as published, member with the name (before)": plain_items(
            lambda n: ["HSET", _key(n), "", state, digest(n), "like"]
        ),
        "a key for the state, a key for the member": plain_items(
            lambda n: ["SET", _key(n), state],
            lambda n: ["HSET", NAMES.bucket_key(SITE, _name(n), 0, 1), digest(n), 1],
        ),
        "**this layout**": our_items,
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure the engine's memory for each reaction.")
    parser.add_argument("--members", type=int, default=1_000_000, help="reactions of an item, and items")
    parser.add_argument("--binary", type=Path, default=find_binary(), help="another engine's program")
    options = parser.parse_args()
    binary, count = options.binary, options.members
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    allocator = version.split("malloc=")[1].split()[0]
    print(f"{version.split(' sha')[0]}, {os.uname().machine}, malloc {allocator}")
    table(binary, f"one item with {count:,} reactions", count, one_item())
    table(binary, f"{count:,} items with one reaction each", count, many_items())


if __name__ == "__main__":
    assert LAYOUT_VERSION == b"4", "the tables are about this layout"
    main()
