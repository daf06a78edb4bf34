"""Command-line options that sub-commands share: those of the settings, and of a site.

Owns how a setting becomes an option with its help text. Does not depend on what the commands do.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tallycast.config.settings import (
    Settings,
    default_text,
    environment_names,
    flag,
    help_text,
    load,
)


def setting(name: str, text: str | None = None) -> Any:
    """The option of a setting, with its variables and default in its help text, which ``text`` replaces."""
    declared = flag(name)
    assert declared is not None
    names = " or ".join(environment_names(name))
    return typer.Option(
        f"{declared.name}/--no-{declared.name[2:]}" if declared.is_switch else declared.name,
        help=f"{text or help_text(name)} [dim]\\[env: {names}; default: {default_text(name)}][/dim]",
        metavar=declared.metavar or None,
        rich_help_panel=declared.panel,
    )


def with_settings(run: Callable[[Settings], int]) -> Callable[..., int]:
    """Make a command of ``run``: it has a flag for every setting that has one, and loads the settings."""

    def command(**flags: Any) -> int:
        return run(load(**flags))

    parameters = []
    for name in Settings.model_fields:
        if (declared := flag(name)) is not None:
            kind: Any = bool | None if declared.is_switch else str | None
            option = inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, setting(name)]
            )
            parameters.append(option)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


Config = Annotated[str | None, setting("config", "The server's sites file.")]
Data = Annotated[str | None, setting("data")]
SiteName = Annotated[str, typer.Option("--site", metavar="NAME", help="A site of the sites file.")]
Subject = Annotated[
    str, typer.Option("--sub", metavar="ID", help="The visitor: the subject (sub) of your own tokens.")
]
