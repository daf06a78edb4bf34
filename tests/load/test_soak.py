"""``make soak`` in short form: after churn everything comes back, and what does not is named."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import clean_environment

SOAK = Path(__file__).parents[2] / "tools" / "soak.py"
# fmt: off
SHORT = ["2s", "1s", "1s", "--connections", "200", "--items", "20", "--reactions", "100/s"]
# fmt: on


def test_everything_comes_back() -> None:
    done = subprocess.run(
        [sys.executable, SOAK, *SHORT],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "soak: everything came back"
    # Two runs with churn, each checked by the harness.
    assert done.stdout.count("reconnects") == 2


@pytest.mark.parametrize("name", ["memory", "files", "tasks", "channels"])
def test_what_does_not_come_back_is_named(name: str) -> None:
    soak = runpy.run_path(str(SOAK))
    before = soak["State"](memory=60 * 2**20, files=20, tasks=9, channels=1, objects=70_000)
    grown = before._replace(**{name: getattr(before, name) + 5 * 2**20}, objects=80_000)
    assert soak["too_much"](before, before) == []
    assert soak["too_much"](before, grown) == [name]
