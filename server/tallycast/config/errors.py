"""What an operator reads when a setting is wrong: one line with its flag or variable, and no secret.

Does not depend on which settings there are: their fields are handed in.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from tallycast.config import environment


def variables(field: FieldInfo) -> list[str]:
    """The environment variables of a setting, the first one leading."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)]


def one_line(error: ValidationError, flags: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    """What is wrong, and what was expected; ``flags`` are those that were given."""
    first = error.errors()[0]
    where = str(first["loc"][0])
    name = next((name for name, field in fields.items() if where == name or where in variables(field)), where)
    extra = fields[name].json_schema_extra
    assert isinstance(extra, dict)
    label = f"--{name.replace('_', '-')}" if name in flags else _variable(fields[name])
    return f"{label}: expected {extra['expected']}, not {_shown(name, first['input'])}"


def _variable(field: FieldInfo) -> str:
    """The variable that the wrong value came from."""
    names = variables(field)
    given = {name: os.environ.get(name, "") for name in names}
    used = (name for name, value in given.items() if value and not environment.is_injected(name, value))
    return next(used, names[0])


def _shown(name: str, value: object) -> str:
    if name != "redis_url":
        return repr(str(value))
    # It may hold a password in any place: only what is surely none of it is repeated.
    scheme = re.match(r"([a-z]+)://", str(value))
    return f"'{scheme[1]}://…'" if scheme else "the one given (not shown: it may hold a password)"
