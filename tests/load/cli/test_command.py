"""``tallycast load`` as it is typed: mistakes get one line and status 1, and reports can be read."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tallycast.cli.command import main
from tallycast_load.cli.execution import _write
from tallycast_load.client import visitors
from tallycast_load.coordinator import private_server
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import make
from tallycast_load.verdict.verdict import INVALID, MISSED, PASSED

from tests.load.fake import Fake, Faults
from tests.load.support import harness
from tests.support.process import ServerProcess, clean_environment
from tests.support.waiting import eventually, wait_for

PLAN = {"connections": "10", "items": "3", "reactions": "20/s", "duration": "1s", "warmup": "0s"}
SMALL = [word for name, value in PLAN.items() for word in (f"--{name}", value)]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "tallycast", "load", *map(str, arguments)]


async def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A whole run, while this loop serves the fake server."""
    return await asyncio.to_thread(
        subprocess.run,
        command(*arguments),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_mistakes_get_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["tallycast", "load", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert (caught.value.code, said.out) == (1, "")
        assert said.err.count("\n") == 1
        return said.err.removeprefix("tallycast: ").rstrip("\n")

    like = "URL: expected one such as https://tally.example or https://example.org/tally"
    plain = f"{like} (no query, no fragment, no '.', '..' or empty segment)"
    scenario = tmp_path / "wrong.toml"
    scenario.write_text('[burst]\nevery = "often"\nlength = "1s"\nreactions = "9/s"\n')
    lines = [
        refused("http://127.0.0.1:9", "--reactions", "many"),
        refused("ftp://tally.example"),
        refused("http://tally..example"),
        refused("http://127.0.0.1:9/tally/../x"),
        refused("http://127.0.0.1:9/tally//x"),
        refused("http://user:password@127.0.0.1:9"),
        refused("http://127.0.0.1:9", "--nothing"),
        refused("http://127.0.0.1:9", "--scenario", scenario),
        refused("http://127.0.0.1:9", "--html", tmp_path / "no" / "report.html"),
    ]
    assert lines == [
        "--reactions: expected a rate such as 500/s, not 'many'",
        f"{plain}, not 'ftp://tally.example'",
        f"{plain}, not 'http://tally..example'",
        f"{plain}, not 'http://127.0.0.1:9/tally/../x'",
        f"{plain}, not 'http://127.0.0.1:9/tally//x'",
        f"{like}, without user and password",
        "No such option: --nothing; see tallycast load --help",
        f"{scenario}: burst.every: expected a duration such as 60s, not 'often'",
        f"{tmp_path / 'no' / 'report.html'}: no such file or directory",
    ]


async def test_a_server_that_is_not_there() -> None:
    async with Fake() as fake:
        url = fake.url
    done = await run(url, *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr.splitlines()[-1]
        == f"tallycast: {url} does not answer: connection refused (POST /v1/visitors)"
    )


async def test_a_server_without_tls(server: ServerProcess) -> None:
    url = server.url.replace("http", "https")
    with pytest.raises(LoadError) as caught:
        await harness(url, **PLAN)
    message = str(caught.value)
    assert message.startswith(f"{url} does not answer: no TLS: ")
    assert "permitted" not in message


async def test_a_server_that_dies_is_reported(tmp_path: Path) -> None:
    """What was measured until then is reported; checks that need the store are not decided."""
    out, page = tmp_path / "run.json", tmp_path / "run.html"
    async with Fake() as fake:
        running = asyncio.create_task(
            run(fake.url, *SMALL, "--duration", "2s", "--json", out, "--html", page)
        )
        await eventually(lambda: fake.reactions > 10)
        fake.die()
        done = await running
    report = json.loads(out.read_text())
    checks = {check["name"]: check["passed"] for check in report["checks"]}
    assert (checks["acked"], checks["counts"], checks["converged"]) == (None, None, None)
    # Its connections were cut without a close code, which needs no store to be known.
    assert (checks["closes"], done.returncode, report["status"]) == (False, 3, 3)
    assert report["latencies"]["ack"]["count"] > 0
    assert "the store could not be read" in page.read_text()


async def test_a_run_and_its_reports(tmp_path: Path) -> None:
    data, page = tmp_path / "run.json", tmp_path / "run.html"
    async with Fake(Faults(refuse=5)) as fake:
        arguments = ("--duration", "2s", "--seed", "7", "--metrics", f"{fake.url}/metrics")
        done = await run(fake.url, *SMALL, *arguments, "--json", data, "--html", page)
    assert done.returncode in (0, 2), done
    for phase in ("preparing", "connecting", "running", "draining", "checking"):
        assert f"{phase}" in done.stderr
    for word in ("p99.9", "acked", "converged", "refused: rate_limited", "more --visitors (now 10)"):
        assert word in " ".join(done.stdout.split())
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip() or len(line) > 120]
    assert done.stderr.splitlines()[-2:] == [f"wrote {data}", f"wrote {page}"]
    report = json.loads(data.read_text())
    assert report["plan"]["seed"] == 7
    assert report["counters"]["refused"] == {"rate_limited": 1}
    assert report["counters"]["errors"] == 1 / report["generator"]["late"][0]
    assert [check["name"] for check in report["checks"]] == [
        "acked", "counts", "converged", "versions", "closes", "answers",
    ]  # fmt: skip
    html = page.read_text()
    assert html.count("<svg") == html.count("</svg>") >= 3
    assert "<script" not in html
    assert "fake_reactions_total" in html
    # Nothing but the server's own address is named, and that not as a link.
    assert 'src="' not in html
    assert 'href="' not in html


def test_a_report_that_cannot_be_written() -> None:
    with pytest.raises(LoadError, match=r"^/dev/full: no space left on device$"):
        _write(Path("/dev/full"), "a report")


async def test_a_visitors_token_is_signed_with_the_sites_key() -> None:
    async with Fake(key="a key of thirty-two bytes or more!") as fake:
        result = await harness(fake.url, fake.key, **PLAN, threshold=["ack.p50<1us"])
        assert result.verdict.status in (MISSED, INVALID), result.verdict
        assert all(visitor.startswith("u:load-") for visitor in fake.visitors)
        assert len(fake.visitors) >= 10


async def test_a_limit_on_new_visitors_is_explained() -> None:
    async with Fake(Faults(limit_new_visitors=True)) as fake:
        with pytest.raises(LoadError) as caught:
            await harness(fake.url, **PLAN)
    message = "the server limits new visitors (POST /v1/visitors: 429): sign their tokens with --token-key"
    assert str(caught.value) == message


async def test_the_same_seed_sends_the_same_reactions() -> None:
    async def held() -> list[dict[str, str]]:
        async with Fake() as fake:
            result = await harness(fake.url, **PLAN, seed="3", processes="2")
            assert result.verdict.status in (PASSED, INVALID), result.verdict
            items = {name.rpartition("/")[2]: item for name, item in fake.items.items()}
            return [dict(sorted(items[number].held.items())) for number in sorted(items)]

    def shape(found: list[dict[str, str]]) -> list[list[str]]:
        # Tokens are given in the order of asking, which differs; what is held does not.
        return [sorted(item.values()) for item in found]

    first, second = await asyncio.gather(held(), held())
    assert shape(first) == shape(second)


def test_a_first_look_without_a_url_and_an_interruption(tmp_path: Path) -> None:
    """A private server is started; after Ctrl+C both have ended, and the report is partial."""
    out = tmp_path / "run.json"
    arguments = [*SMALL[:-4], "--duration", "60s", "--warmup", "0s", "--json", out]
    process = subprocess.Popen(
        command(*arguments),
        env=clean_environment({"TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line.startswith("running"):
            break
    (folder,) = tmp_path.glob("tallycast-load-*")
    wait_for(lambda: (folder / "data").exists() or any(folder.iterdir()), "the private server's data")
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "INTERRUPTED" in stdout
    assert "Partial" in stdout
    report = json.loads(out.read_text())
    assert report["partial"] is True
    assert report["checks"] == []
    assert not folder.exists()
    assert not [pid for pid in map(str, _running()) if str(folder) in _command_line(pid)]


# The private server's start takes for ever.
NEVER_STARTS = """
import signal, sys
if "serve" in sys.orig_argv:
    signal.pause()
"""


def test_an_interruption_before_there_is_anything_to_report(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The private server is still starting: one line, and nothing is left."""
    tmp_path, site = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(NEVER_STARTS)
    process = subprocess.Popen(
        command(*SMALL),
        env=clean_environment({"TMPDIR": str(tmp_path), "PYTHONPATH": str(site)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: list(tmp_path.glob("tallycast-load-*")), "the private server's folder")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines() == [private_server.LIMITS_RAISED, "tallycast: interrupted"]
    assert list(tmp_path.iterdir()) == []


def _running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("text", ["p99<50", "errors<=1", "ack.max < 2"])
def test_a_threshold_has_a_unit(text: str) -> None:
    """Fifty seconds would always hold. Only the invalid threshold is named."""
    with pytest.raises(LoadError) as caught:
        make({"threshold": ["p50<5ms", text]}, None, private=False)
    expected = "something like p99<50ms, ack.p99.9<=200ms, connect.max<2s or errors<1%"
    assert str(caught.value) == f"--threshold: expected {expected}, not {text!r}"


def test_a_token_key_that_is_too_short() -> None:
    assert visitors.sign("k" * 32, "default", "run", 1)
    with pytest.raises(LoadError, match=r"^--token-key: expected at least 32 bytes, as HS256 requires$"):
        visitors.sign("k" * 31, "default", "run", 1)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("connections", "0", "a whole number from 1 to 1,000,000"),
        ("spread", "zipf", "uniform, zipf:EXPONENT (0 to 5) or hot:SHARE (0 to 1)"),
        ("threshold", "p98<5ms", "something like p99<50ms, ack.p99.9<=200ms, connect.max<2s or errors<1%"),
        ("slow", "200%", "a share such as 1%"),
        ("transport", "tcp", "ws or sse"),
        ("processes", "none", "a whole number from 1 to 256, or auto"),
    ],
)
def test_what_a_right_value_looks_like(flag: str, value: str, expected: str) -> None:
    with pytest.raises(LoadError) as caught:
        make({flag: [value] if flag == "threshold" else value}, None, private=False)
    assert str(caught.value).startswith(f"--{flag}: expected {expected}, not ")
