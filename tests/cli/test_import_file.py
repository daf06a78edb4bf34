"""`tallycast import` as it is typed: beside a running server, on a terminal, stopped and taken up again."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.cli.test_command import tallycast
from tests.client.websocket import connect_blocking
from tests.conftest import listed
from tests.support.process import ServerProcess, clean_environment
from tests.support.waiting import wait_for

MANY = 45_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with listed(ServerProcess(tmp_path_factory.mktemp("import"))) as process:
        yield process.start()


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    """Many rows, three of them bad, on a hundred items."""
    file = tmp_path / "votes.csv"
    rows = [f"{tmp_path.name}/{i % 100},u:{i},{'dislike' if i % 3 == 2 else 'like'},{i}" for i in range(MANY)]
    rows[7] = "x,7,like,7"
    rows[8] = f"{tmp_path.name}/8,u:8,love,8"
    rows[MANY - 1] = "x"
    file.write_text("\n".join(["item,visitor,reaction,time", *rows]) + "\n")
    return file


def run(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return tallycast("import", *arguments, "--data", str(server.data))


def trail(server: ServerProcess) -> list[str]:
    """What the audit trail says, the oldest first."""
    return tallycast("audit", "--data", str(server.data)).stdout.splitlines()


def counts(server: ServerProcess, *items: str) -> list[dict[str, int]]:
    answer = httpx.get(f"{server.url}/v1/items", params=[("item", item) for item in items])
    return [one["counts"] for one in answer.json()["items"]]


def every(server: ServerProcess, votes: Path) -> list[dict[str, int]]:
    return counts(server, *(f"{votes.parent.name}/{i}" for i in range(100)))


def expected() -> list[dict[str, int]]:
    bad = (7, 8, MANY - 1)
    kinds = [("dislike" if i % 3 == 2 else "like") if i not in bad else "" for i in range(MANY)]
    return [{kind: kinds[i::100].count(kind) for kind in ("like", "dislike")} for i in range(100)]


def test_a_file_twice(server: ServerProcess, votes: Path) -> None:
    item = f"{votes.parent.name}/0"
    with connect_blocking(f"{server.ws_url}/ws?item={item}") as page:
        page.next()
        dry = run(server, str(votes), "--dry-run")
        assert every(server, votes) == [{"like": 0, "dislike": 0}] * 100
        first = run(server, str(votes))
        # A watcher sees the counts move.
        while page.next()["counts"] != expected()[0]:
            pass
    assert every(server, votes) == expected()
    versions = httpx.get(f"{server.url}/v1/items", params={"item": item}).json()
    again = run(server, str(votes))
    assert httpx.get(f"{server.url}/v1/items", params={"item": item}).json() == versions
    # The trail says what was begun and what came of it; what was only checked is not in it.
    named = " ".join(trail(server)[-4:])
    digest = sha256(votes.read_bytes()).hexdigest()
    once = r"import    default  votes\.csv \S+  cli:\S+ +imported  default  votes\.csv: 44,997 rows, 3 bad, "
    once += f"sha256:{digest}"
    assert len(re.findall(once, named)) == 2, named
    for done, word in ((dry, "would be imported"), (first, "imported"), (again, "imported")):
        assert done.returncode == 1
        assert re.fullmatch(rf"44,997 rows {word} in [\d.ms ]+, [\d,]+ rows/s; 3 rows bad\n", done.stdout), (
            done.stdout
        )
        reply = [line for line in done.stderr.splitlines() if line.startswith("line ")]
        assert reply == [
            "line 9: a visitor is u: and your user's id (1 to 128 bytes), or an anonymous a:…",
            "line 10: a reaction is one of like, dislike, not 'love'",
            "line 45001: 1 values, and the header has 4",
        ]


def test_interrupted_and_taken_up_again(server: ServerProcess, votes: Path) -> None:
    """It stops where nothing more comes, so that it is sure to be in the middle."""
    lines = votes.read_bytes().splitlines(keepends=True)
    command = [sys.executable, "-m", "tallycast", "import", "-", "--data", str(server.data)]
    with subprocess.Popen(
        command,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"".join(lines[:42_000]))
        process.stdin.flush()
        wait_for(
            lambda: sum(sum(one.values()) for one in every(server, votes)) > 20_500, "the first rows", 60
        )
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        said = process.stderr.read().decode()
        assert process.wait(30) == 130, said
    found = re.search(r"tallycast: stopped at line (\d+): interrupted.* go on with --from (\d+)\n", said)
    assert found is not None, said
    assert found[1] == found[2]
    assert 20_000 < int(found[1]) < 42_000
    begun, ended = trail(server)[-2:]
    assert begun.endswith("  import    default  standard input"), begun
    assert re.search(
        rf"  imported  default  standard input: [\d,]+ rows, 2 bad, stopped at line {found[1]}$", ended
    )
    done = run(server, str(votes), "--from", found[1])
    assert done.stdout.endswith("; 1 row bad\n"), done.stdout
    assert trail(server)[-2].endswith(f"  votes.csv from line {found[1]}")
    assert every(server, votes) == expected()


def test_killed_and_begun_again(server: ServerProcess, votes: Path) -> None:
    """It knows where to go on, and nothing is imported twice: what people did meanwhile stays."""
    lines = votes.read_bytes().splitlines(keepends=True)
    command = [sys.executable, "-m", "tallycast", "import", "-", "--data", str(server.data)]
    with subprocess.Popen(
        command, env=clean_environment(), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines[:42_000]))
        process.stdin.flush()
        wait_for(
            lambda: sum(sum(one.values()) for one in every(server, votes)) > 20_500, "the first rows", 60
        )
        process.kill()
        process.wait()
    assert trail(server)[-1].endswith("  import    default  standard input"), "begun, and not ended"
    assert run(server, str(votes)).stdout.startswith("44,997 rows imported")
    assert every(server, votes) == expected()


def test_counts_to_start_from(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "starts.ndjson"
    file.write_text(
        '{"item":"begun","counts":{"like":1200}}\n{"item":"begun","visitor":"u:1","reaction":"like"}\n'
    )
    for _ in range(2):
        assert run(server, str(file)).returncode == 0
        assert counts(server, "begun") == [{"like": 1201, "dislike": 0}]
    assert tallycast("audit", "--items", "begun", "--data", str(server.data)).returncode == 0


def test_a_line_break_in_quotes_is_no_end_of_a_row(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "votes.csv"
    file.write_text('item,visitor,reaction\n"1\n2",u:1,like\nafter,u:1,like\n')
    done = run(server, str(file))
    assert (done.returncode, done.stdout[:14]) == (1, "1 row imported")
    assert re.fullmatch(r"line 2: an item id has no control characters .*\n", done.stderr), done.stderr
    assert counts(server, '2"', "2", "1", "after") == [{"like": like, "dislike": 0} for like in (0, 0, 0, 1)]


@pytest.mark.parametrize("redirected", [False, True])
def test_nothing_is_imported_of_a_file_in_another_encoding(
    server: ServerProcess, votes: Path, redirected: bool
) -> None:
    """However far behind the first rows it shows, where the file can be read again."""
    noted = trail(server)
    data = votes.read_bytes()
    votes.write_bytes(data + f"{votes.parent.name}/é,u:1,like,7\n".encode("cp1252"))
    with votes.open("rb") as file:
        command = ["import", "-" if redirected else str(votes), "--data", str(server.data)]
        wrong = tallycast(*command, stdin=file if redirected else None)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr.startswith(f"tallycast: line {MANY + 2}: byte 0xE9 is not utf-8: say which enc")
        assert every(server, votes) == [{"like": 0, "dislike": 0}] * 100
        assert trail(server) == noted
        file.seek(0)
        right = tallycast(*command, "--encoding", "cp1252", stdin=file if redirected else None)
    assert right.stdout.startswith("44,998 rows imported"), right.stderr
    assert counts(server, f"{votes.parent.name}/é") == [{"like": 1, "dislike": 0}]


def test_a_file_of_a_spreadsheet(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "votes.csv"
    file.write_text("sep=;\r\nItem;Like;Dislike;\r\nsheet/é;3;4;\r\n;;;\r\n", "utf-16", newline="")
    done = run(server, str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert counts(server, "sheet/é") == [{"like": 3, "dislike": 4}]


def test_on_a_terminal(server: ServerProcess, votes: Path) -> None:
    votes.write_bytes(b"".join(votes.read_bytes().splitlines(keepends=True)[:5001]))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tallycast", "import", str(votes), "--data", str(server.data)],
        env=clean_environment({"TERM": "xterm", "COLUMNS": "100"}),
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:
        pass  # how the end of a terminal reads
    os.close(ours)
    assert process.stdout is not None
    with process:
        assert b"4,998 rows imported" in process.stdout.read()
    assert "━" in drawn.decode()
    assert b"line 10: a reaction is one of" in drawn


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["gone.csv"], 1, "gone.csv: no such file or directory"),
        (["."], 1, ".: is a directory"),
        (["/dev/null"], 1, "there is nothing in it"),
        (
            ["/dev/null", "--site", "nope"],
            2,
            "--site: no site 'nope' without a sites file: give the file with --config",
        ),
        (["/dev/null", "--delimiter", "::"], 2, "--delimiter: expected one character, or tab, not '::'"),
        (["/dev/null", "--encoding", "nope"], 2, "--encoding: expected one like utf-8, utf-16-le or cp1252"),
        (["/dev/null", "--from", "0"], 2, "Invalid value for '--from'"),
    ],
)
def test_what_cannot_be_imported(server: ServerProcess, arguments: list[str], status: int, line: str) -> None:
    done = run(server, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"tallycast: {line}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_where_no_server_runs(votes: Path, tmp_path: Path) -> None:
    votes.write_bytes(b"".join(votes.read_bytes().splitlines(keepends=True)[:100]))
    done = tallycast("import", str(votes), "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tallycast: no server runs on the data folder {tmp_path}")
    assert tallycast("import", str(votes), "--dry-run", "--data", str(tmp_path)).returncode == 1
    gone = tallycast("import", "gone.csv", "--data", str(tmp_path))
    assert gone.stderr == "tallycast: gone.csv: no such file or directory\n"
