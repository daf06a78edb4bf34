"""Why a server cannot start, and the line for an invalid setting.

Owns the form of that line: the flag or variable, what was expected, and no secret. Does not depend on
which settings there are: their fields are arguments.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from tallycast.config import environment
from tallycast.contract.errors import TallycastError


class StartError(TallycastError):
    """The server cannot start. ``str(error)`` is one line for the operator."""


class SettingsError(StartError):
    """A setting is invalid."""


def declared(field: FieldInfo) -> dict[str, Any]:
    """What a setting declares beside its default and its help text: ``metavar``, ``expected``, ``panel``."""
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


def variables(field: FieldInfo) -> list[str]:
    """The environment variables of a setting; the first one has precedence."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)]


def one_line(error: ValidationError, flags: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    """The setting, what was expected and what was found; ``flags`` are those given on the command line."""
    first = error.errors()[0]
    where = str(first["loc"][0])
    name = next((name for name, field in fields.items() if where == name or where in variables(field)), where)
    label = f"--{name.replace('_', '-')}" if name in flags else _variable(fields[name])
    return f"{label}: expected {declared(fields[name])['expected']}, not {_shown(name, first['input'])}"


def _variable(field: FieldInfo) -> str:
    """The variable that the invalid value came from."""
    names = variables(field)
    given = {name: os.environ.get(name, "") for name in names}
    used = (name for name, value in given.items() if value and not environment.is_injected(name, value))
    return next(used, names[0])


def _shown(name: str, value: object) -> str:
    if name != "redis_url":
        return repr(str(value))
    # A password may stand anywhere in an invalid URL: only the scheme is repeated.
    scheme = re.match(r"([a-z]+)://", str(value))
    return f"'{scheme[1]}://…'" if scheme else "the given one (hidden: it may hold a password)"
