"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest
from tallycast.config.settings import Settings, default_text, environment_names
from tallycast.contract import messages
from tallycast.contract.errors import CloseCode, Refusal

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_row_in_the_readme(name: str) -> None:
    field = Settings.model_fields[name]
    names = " or ".join(f"`{variable}`" for variable in environment_names(name))
    row = next(line for line in README.splitlines() if line.startswith("|") and names in line)
    assert str(field.description) in row
    if field.default is not None:
        assert f"| `--{name.replace('_', '-')}` |" in row
        assert f"| `{default_text(name)}` |" in row


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
