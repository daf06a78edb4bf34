"""``tallycast audit --items … | --all``, from the outside."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis
from tallycast.engine import keys
from tallycast.ledger import layout

from tests.cli.test_command import tallycast
from tests.conftest import MakeServer
from tests.ledger.support import sequence
from tests.support.engine import private_engine
from tests.support.names import NAMES
from tests.support.process import clean_environment


def store(url: str, site: str, item: str, like: int, members: int) -> None:
    """An item with a count, and with so many members."""
    with Redis.from_url(url) as client:
        key = NAMES.item_key(site, item)
        client.hset(key, "", sequence(1_767_225_600_000_000, 0, 0, 1, 0, "like", like))
        client.hset(key, mapping={keys.member(f"a:{number}"): 1 for number in range(members)})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with private_engine() as url:
        yield url


@pytest.fixture
def stored(url: str) -> str:
    with Redis.from_url(url) as client:
        client.flushall()
    for number in range(600):
        store(url, "default", f"posts/{number} é", 2, 2)
    store(url, "blog", "x", 3, 3)
    return url


def test_all_that_is_right(stored: str) -> None:
    done = tallycast("audit", "--all", env={"REDIS_URL": stored})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "601 items audited: all counts are right.\n"


def test_all_that_differs_is_listed_and_repaired(stored: str) -> None:
    store(stored, "default", "posts/7 é", 5, 2)
    store(stored, "blog", "y", 1, 4)
    done = tallycast("audit", "--all", "--site", "blog", env={"REDIS_URL": stored})
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == ("repaired  blog  y  like 1 -> 4\n2 items audited: 1 differed and was repaired.\n")
    done = tallycast("audit", "--all", env={"REDIS_URL": stored})
    assert done.returncode == 3
    assert done.stdout == (
        "repaired  default  posts/7 é  like 5 -> 2\n602 items audited: 1 differed and was repaired.\n"
    )
    assert tallycast("audit", "--all", env={"REDIS_URL": stored}).returncode == 0


def test_single_items(stored: str) -> None:
    store(stored, "default", "posts/7 é", 5, 2)
    given = [word for item in ("posts/6 é", "posts/7 é", "gone") for word in ("--items", item)]
    done = tallycast("audit", *given, env={"REDIS_URL": stored})
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        "right     default  posts/6 é  like 2",
        "repaired  default  posts/7 é  like 5 -> 2",
        "unknown   default  gone  no reactions stored",
        "3 items audited: 1 differed and was repaired.",
    ]
    done = tallycast("audit", "--site", "blog", "--items", "x", env={"REDIS_URL": stored})
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "right     blog  x  like 3")


def test_an_id_does_nothing_to_the_terminal(stored: str) -> None:
    store(stored, "blog", "posts\u202e24/\u200b", 1, 2)
    done = tallycast("audit", "--all", "--site", "blog", env={"REDIS_URL": stored})
    assert done.stdout.splitlines()[0] == r"repaired  blog  posts\u202e24/\u200b  like 1 -> 2"


def test_what_a_split_left_behind_is_not_counted(stored: str) -> None:
    key, members = NAMES.item_key("blog", "split"), [keys.member(f"a:{number}") for number in range(60)]
    with Redis.from_url(stored) as client:
        client.hset(key, "", sequence(1_767_225_600_000_000, 0, 0, 2, 0, "like", 60))
        # Stopped after the state was written: those that went to the new bucket are in the old one, too.
        client.hset(key, mapping=dict.fromkeys(members, 1))
        moved = [member for member in members if layout.bucket_of(member, 2) == 1]
        client.hset(NAMES.bucket_key("blog", "split", 0, 1), mapping=dict.fromkeys(moved, 1))
    done = tallycast("audit", "--site", "blog", "--items", "split", env={"REDIS_URL": stored})
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "right     blog  split  like 60")


def test_what_is_no_item_keeps_no_other_from_being_audited(stored: str) -> None:
    store(stored, "blog", "y", 1, 4)
    with Redis.from_url(stored) as client:
        client.set(NAMES.item_key("blog", "no hash"), "")
        client.hset(NAMES.item_key("blog", "nonsense"), "", b"\x91")
    done = tallycast("audit", "--site", "blog", "--all", env={"REDIS_URL": stored})
    assert done.returncode == 3
    *lines, summary = done.stdout.splitlines()
    assert [line.split()[:3] for line in sorted(lines)] == [
        ["failed", "blog", "no"],
        ["failed", "blog", "nonsense"],
        ["repaired", "blog", "y"],
    ]
    assert summary == "4 items audited: 1 differed and was repaired, 2 could not be counted."


def test_a_bar_on_a_terminal(stored: str) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment() | {"REDIS_URL": stored, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "tallycast", "audit", "--all"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # Linux says so where the other end of a terminal was closed
        os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == b"601 items audited: all counts are right.\n"
    assert process.returncode == 0
    assert b"items audited" in shown
    assert b"100%" in shown


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (("--all", "--items", "x"), "--items and --all"),
        (("--site", "blog"), "--site: only with"),
        (("--items", ""), "--items: an item id has at least 1 byte"),
    ],
)
def test_what_does_not_go_together(given: tuple[str, ...], answer: str) -> None:
    done = tallycast("audit", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert answer in done.stderr


def test_beside_a_running_server(make_server: MakeServer) -> None:
    server = make_server()
    done = tallycast("audit", "--all", "--data", str(server.data))
    assert (done.returncode, done.stdout) == (0, "0 items audited: all counts are right.\n")
