"""What an operator does beside a running server: the audit trail, as the command prints it."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tallycast.engine import keys
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.standalone import StandaloneStore
from tallycast.ledger import trail

from tests.cli.test_command import tallycast
from tests.conftest import MakeServer
from tests.support.engine import private_engine
from tests.support.process import ServerProcess, clean_environment

ADMIN = "sha256:0123456789ab"
WHEN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(scope="module")
def trailed() -> Iterator[str]:
    """The URL of an engine with a long trail."""
    with private_engine() as url:
        asyncio.run(_note(url, 3000))
        yield url


async def _note(url: str, many: int) -> None:
    engine = StandaloneStore(url)
    for number in range(many):
        await trail.note(engine, ADMIN, "reset", "blog", item=f"posts/{number} é")
    await trail.note(engine, ADMIN, "erase", "blog", member=keys.member("u:42"))
    await engine.close()


def test_the_audit_trail(trailed: str) -> None:
    done = tallycast("audit", env={"REDIS_URL": trailed})
    assert (done.returncode, done.stderr) == (0, "")
    *resets, erase = done.stdout.splitlines()
    assert len(resets) == 3000
    assert re.fullmatch(rf"{WHEN}  {ADMIN}  reset     blog  posts/2999 é", resets[-1]), resets[-1]
    member = keys.member("u:42").hex()
    assert re.fullmatch(rf"{WHEN}  {ADMIN}  erase     blog  visitor {member}", erase), erase


def test_of_the_server_on_this_data_folder(make_server: MakeServer) -> None:
    server: ServerProcess = make_server()
    done = tallycast("audit", "--data", str(server.data))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "the audit trail is empty\n")
    asyncio.run(_note(running_engine(server.data), 1))
    assert len(tallycast("audit", "--data", str(server.data)).stdout.splitlines()) == 2


def test_on_a_terminal(trailed: str) -> None:
    """Nothing is broken in the middle of a word where the line is too long; and no text moves the cursor."""

    async def more() -> None:
        engine = StandaloneStore(trailed)
        await trail.note(
            engine, "cli:root", "imported", "blog", details=f"a\x1b[2J.csv: 7 rows, sha256:{'0' * 64}"
        )
        await engine.close()

    asyncio.run(more())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    environment = clean_environment({"REDIS_URL": trailed, "TERM": "xterm"})
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "tallycast", "audit"], env=environment, stdout=theirs
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:
            pass  # how the end of a terminal reads
        assert process.wait() == 0
    os.close(ours)
    *_, reset, erase, visitor, imported, file, digest = said.decode().replace("\r", "").splitlines()
    assert max(map(len, said.decode().splitlines())) <= 80
    assert reset.endswith("  reset     blog  posts/2999 é")
    assert re.fullmatch(rf"{WHEN}  {ADMIN}  erase     blog", erase), erase
    assert visitor == f"    visitor {keys.member('u:42').hex()}"
    assert re.fullmatch(rf"{WHEN}  cli:root +imported  blog", imported), imported
    assert (file, digest) == ("    a\\u001b[2J.csv: 7 rows,", f"    sha256:{'0' * 64}")


def test_where_no_server_runs(tmp_path: Path) -> None:
    done = tallycast("audit", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tallycast: no server runs on the data folder {tmp_path}")


def test_a_reader_that_has_read_enough(trailed: str) -> None:
    """As `| head -1` does it."""
    command = [sys.executable, "-m", "tallycast", "audit"]
    with subprocess.Popen(
        command,
        env=clean_environment({"REDIS_URL": trailed}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"posts/0" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"", "it ends without a word"
