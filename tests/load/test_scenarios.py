"""The scenarios that are shipped, in short form, against a real server, on every transport."""

import asyncio
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ServerProcess, clean_environment

EXAMPLES = Path(__file__).parents[2] / "examples" / "load"
SHORT: dict[str, dict[str, Any]] = {
    "blog": {"connections": 200, "items": 50, "churn": "30/s", "transport": "sse"},
    "livestream": {
        "connections": 300,
        "visitors": 200,
        "burst": {"every": "500ms", "length": "200ms", "reactions": "400/s"},
    },
    "feed": {"connections": 60, "items": 120, "reactions": "60/s", "slow": "5%", "protocol": "msgpack"},
    "storm": {
        "connections": 200,
        "reactions": "50/s",
        "storms": ["500ms"],
        # Long enough that those that were cut off are back, on a busy machine too.
        "duration": "8s",
        # A reader that is not back when the second is over cannot send what is due.
        "threshold": ["p99<20s", "errors<60%"],
    },
    "launch": {"connections": 100, "duration": "2s", "steps": {"factor": 1.5, "every": "1s"}},
}
# What is measured is the machine's business here; what is true is not.
LOOSE = {"duration": "1s", "warmup": "200ms", "ramp": "1000/s", "threshold": ["p99<20s", "errors<1%"]}


def toml(plan: dict[str, Any]) -> str:
    """As TOML: values first, then tables. JSON's notation of text, numbers and lists is TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in plan.items() if not isinstance(value, dict)]
    for key, value in plan.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", toml(value)]
    return "\n".join(lines)


def test_these_are_all_and_documented() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.toml")} == SHORT.keys()
    documented = (EXAMPLES.parents[1] / "docs" / "load-testing.md").read_text()
    for name in (*SHORT, "acked", "counts", "converged", "versions", "closes", "answers"):
        assert f"| `{name}` |" in documented


def run(name: str, url: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The scenario in short form: what was said, and its report."""
    shipped = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())
    file, out = folder / f"{name}.toml", folder / f"{name}.json"
    file.write_text(toml({**shipped, **LOOSE, **SHORT[name]}))
    done = subprocess.run(
        [sys.executable, "-m", "tallycast", "load", url, "--scenario", file, "--json", out],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert out.exists(), done
    return done, json.loads(out.read_text())


async def test_every_scenario_passes(
    server: ServerProcess, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """All at once: each waits for its own clock most of the time."""
    runs = (asyncio.to_thread(run, name, server.url, tmp_path) for name in SHORT)
    found = await asyncio.gather(*runs)
    for name, (done, report) in zip(SHORT, found, strict=True):
        with subtests.test(name):
            check_passed(name, done, report)


def check_passed(name: str, done: subprocess.CompletedProcess[str], report: dict[str, Any]) -> None:
    # A machine that is busy with other tests may make the generator late; that is not the server's fault.
    assert all(check["passed"] or report["complaints"] for check in report["checks"]), done.stdout
    assert done.returncode == (2 if report["complaints"] else 0), done.stdout
    assert report["counters"]["acked"] > 0
    if name == "storm":
        assert report["counters"]["reconnects"] >= 200
    if name == "livestream":
        assert report["counters"]["acked"] > 150, "two bursts of 80, and what was between them"
    if name == "launch":
        assert [step["rate"] for step in report["steps"]] == [100.0, 150.0]
