"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest
from tallycast.contract import messages
from tallycast.contract.errors import CloseCode, Refusal

from tools import tables

ROOT = Path(__file__).parents[1]
# Where the paths begin that these documents name.
FOLDERS = [ROOT, ROOT / "server" / "tallycast"]
WITH_PATHS = [
    *("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/storage.md"),
    *("docs/ledger.md", "docs/fanout.md", "docs/connections.md", "docs/widget.md"),
]
PATH = re.compile(r"[\w.]+(/[\w.]+)*(/|\.(py|lua|js|sh|txt|json))")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def test_tables_are_current() -> None:
    """``make tables`` writes them."""
    found = []
    for name in tables.DOCUMENTS:
        text = (ROOT / name).read_text()
        assert tables.updated(text) == text, f"{name}: run make tables"
        found += re.findall(r"<!-- table: (\S+) -->", text)
    assert sorted(found) == sorted(tables.TABLES)


@pytest.mark.parametrize("document", WITH_PATHS)
def test_every_path_leads_to_a_file(document: str) -> None:
    spans = re.findall(r"`([^`\s]+)`", (ROOT / document).read_text())
    paths = [span for span in spans if PATH.fullmatch(span)]
    assert paths
    for path in paths:
        assert any((folder / path).exists() for folder in FOLDERS), path


def test_every_log_event_is_one_of_the_server() -> None:
    code = "".join(file.read_text() for file in (ROOT / "server" / "tallycast").rglob("*.py"))
    operations = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    events = re.findall(r"[Ll]og: `([^`]+)`", operations)
    assert len(events) > 5
    for event in events:
        assert f'"{event}' in code, event


def test_every_code_stands_in_the_protocol() -> None:
    for refusal in Refusal.__subclasses__():
        assert f"`{refusal.code}`" in PROTOCOL
    own = {CloseCode.NORMAL, CloseCode.PROTOCOL_ERROR, CloseCode.INTERNAL_ERROR}
    for code in set(CloseCode) - own:
        assert str(int(code)) in PROTOCOL, code


def test_every_message_stands_in_the_protocol() -> None:
    for message in (*messages.ClientMessage.__args__, *messages.ServerMessage.__args__):
        assert f'"type":"{message.__name__.lower()}"' in PROTOCOL


def test_every_promise_has_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    promises = text[text.index("## Promises") : text.index("## What can be lost")].splitlines()
    rows = [line for line in promises if line.startswith("|") and not line.startswith(("| what", "| ---"))]
    assert rows
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert re.search(rf"def {test}\(", (ROOT / "tests" / file).read_text()), (file, test)


def test_every_fault_holds_a_promise() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    for file in (ROOT / "tests" / "faults").glob("test_*.py"):
        for test in re.findall(r"def (test_\w+)\(", file.read_text()):
            assert f"`faults/{file.name}::{test}`" in text, test
