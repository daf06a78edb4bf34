"""Writes the tables of settings into the documents, from their declarations.

Usage: python -m tools.tables. A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
Depends on ``tallycast.config`` alone.
"""

import re
from pathlib import Path

from tallycast.config import settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md",)

_TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Update every document."""
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(updated(path.read_text()))


def updated(text: str) -> str:
    """A document with current tables."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}", text)


def settings_table() -> str:
    """Every setting: flag, variables, default, help text."""
    rows = []
    for name in settings.Settings.model_fields:
        flag = settings.flag(name)
        variables = " or ".join(f"`{variable}`" for variable in settings.environment_names(name))
        default = settings.default_text(name)
        shown = "" if default == "none" else f"`{default}`"
        rows.append((f"`{flag.name}`" if flag else "", variables, shown, settings.help_text(name)))
    return _markdown(("flag", "environment", "default", "description"), rows)


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


TABLES = {"settings": settings_table}


if __name__ == "__main__":
    main()
