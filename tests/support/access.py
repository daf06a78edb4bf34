"""The access list that the documents name, on real engines."""

import shlex
from pathlib import Path

CONFIGURATION = Path(__file__).parents[2] / "docs" / "configuration.md"
PASSWORD = "of the tests"
USER = "tallycast"


def documented(*, sharded: bool) -> list[str]:
    """The rules of the smallest user, as docs/configuration.md has them."""
    section = CONFIGURATION.read_text().split("## The engine's user\n")[1].split("\n## ")[0]
    blocks = section.split("```sh\n")[1:]
    _, *words = shlex.split(blocks[sharded].split("```")[0].replace("\\\n", " "))
    assert words[:4] == ["ACL", "SETUSER", USER, "reset"]
    return [word.replace("PASSWORD", PASSWORD) for word in words[3:]]


def commands(rules: list[str]) -> set[str]:
    """The commands that rules allow, as ``CLUSTER SLOTS``."""
    return {rule[1:].upper().replace("|", " ") for rule in rules if rule.startswith("+")}
