"""The HTTP API under schemathesis: no 5xx, and no status that the document does not name."""

import os
import subprocess
import sys

import pytest

from tests.hostile.watch import FULL, attack
from tests.support.process import ServerProcess

# A stream does not end, and so cannot be read to its end.
ENDLESS = "/v1/stream"


@pytest.mark.timeout(900)
def test_random_requests(victim: ServerProcess) -> None:
    """With the limits that everybody has; ``tests/web/test_openapi.py`` looks at the answers in detail."""
    examples = "500" if FULL else "15"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{victim.url}/openapi.json", "--no-color"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
    command += ["--max-examples", examples, "--exclude-path", ENDLESS]
    with attack(victim, f"schemathesis, {examples} examples an operation"):
        run = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=850, env={**os.environ}
        )
    assert run.returncode == 0, run.stdout
