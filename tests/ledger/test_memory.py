"""What a reaction costs in the engine's memory: no more than is promised, whatever the layout becomes."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "ledger_memory.py"
# Bytes; promised for a million. Fewer cost more, because what is there for all is shared by fewer.
MOST = 32.0
MEMBERS = 100_000


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ledger_memory", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_reaction_costs_no_more_than_is_promised(tool: ModuleType) -> None:
    with tool.engine(tool.find_binary()) as client:
        tool.ours()(client, 1)
        client.flushall()
        before = tool.used(client)
        tool.ours()(client, MEMBERS)
        assert (tool.used(client) - before) / MEMBERS <= MOST
        hashes = [key for key in client.scan_iter(count=1000) if client.type(key) == b"hash"]
        assert len(hashes) > MEMBERS / 50
        assert {client.object("encoding", key) for key in hashes} == {b"listpack"}


def test_the_table_can_still_be_printed() -> None:
    command = [sys.executable, TOOL, "--members", "200"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("this layout") == 2
