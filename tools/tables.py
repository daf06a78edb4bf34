"""Writes the tables of settings, of the keys of the sites file, and of metrics into the documents.

Usage: python -m tools.tables. A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
Their content is declared in ``tallycast.config`` and ``tallycast.observability``.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel
from tallycast.config import settings
from tallycast.config.sites_schema import FORMS, default_text
from tallycast.observability.measures import SERVER_METRICS, WORKERS_METRICS

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/configuration.md", "docs/operations.md")
TABLES = ("settings", "metrics", *FORMS)

_TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Update every document."""
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(updated(path.read_text()))


def updated(text: str) -> str:
    """A document with current tables."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{table(match[2])}\n{match[3]}", text)


def table(name: str) -> str:
    """The table of the settings, of the metrics, or of the keys of a form of the sites file."""
    if name == "settings":
        return settings_table()
    return metrics_table() if name == "metrics" else keys_table(FORMS[name])


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


def keys_table(form: type[BaseModel]) -> str:
    """Every key of a form: default, description."""
    fields = form.model_fields.items()
    rows = [(f"`{name}`", default_text(field), str(field.description)) for name, field in fields]
    return _markdown(("key", "default", "description"), rows)


def metrics_table() -> str:
    """Every metric: name, kind, label, help text with its note."""
    rows = []
    for metric in (*WORKERS_METRICS, *SERVER_METRICS):
        suffix = "_total" if metric.kind == "counter" else ""
        label = f"`{metric.label}`" if metric.label else ""
        rows.append(
            (
                f"`tallycast_{metric.name}{suffix}`",
                metric.kind,
                label,
                f"{metric.help} {metric.note}".rstrip(),
            )
        )
    return _markdown(("metric", "kind", "label", "description"), rows)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    main()
