"""The sites file (``tallycast.toml``): read, parsed, and errors with their line.

Owns the error lines: the file, the line and the reason, never the value of a secret. Does not depend on what
the sites are used for, nor on when the file is read.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tallycast.config.errors import SettingsError
from tallycast.config.sites_schema import SitesForm
from tallycast.domain.sites import DEFAULT_SITE, Site

MAX_SIZE = 1024 * 1024
# Bytes parsed at most to find the line of an error: some seconds.
MAX_EFFORT = 8 * MAX_SIZE

# pydantic's word -> ours.
_REASONS = {"extra_forbidden": "unknown key", "missing": "is missing"}


def parse(text: str, name: str) -> dict[str, Site]:
    """Parse a sites file: the sites by name; ``name`` is what errors call the file.

    Raises:
        SettingsError: it is invalid; one line.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_syntax(error, text, name)) from None
    except (ValueError, RecursionError):
        excess = f"{name}, line {_excessive_line(text)}: a number too long, or nested too deep"
        raise SettingsError(excess) from None
    try:
        form = SitesForm.model_validate(raw, strict=True)
    except ValidationError as error:
        # A key that does not exist is often another one misspelt, which then is missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = tuple(part for part in first["loc"] if part != "[key]")
        line = _line(text, path, raw)
        location = f"{name}, line {line}" if line else name
        shown = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
        raise SettingsError(f"{location}: {shown}: {_reason(first)}") from None
    return {name: site.site(name) for name, site in form.sites.items()}


def sites(text: str | None, name: str) -> dict[str, Site]:
    """The sites in ``text``; without a file, the default site, open to every origin.

    Raises:
        SettingsError: the text is invalid; one line.
    """
    return {DEFAULT_SITE: Site()} if text is None else parse(text, name)


def read(path: Path) -> str:
    """Read the file.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise SettingsError(f"{path}: larger than {MAX_SIZE // 1024} KiB")
        return data.decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: not UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] in _REASONS:
        return _REASONS[error["type"]]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_pattern_mismatch":
        return "the name of a site has letters, digits, '.', '_' and '-' only, at most 64"
    text = str(error["msg"]).replace(" after validation", "")
    return text[0].lower() + text[1:]


def _syntax(error: tomllib.TOMLDecodeError, text: str, name: str) -> str:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
    if found is None:
        return f"{name}: {error}"
    line = found[2] or str(text.count("\n") + 1)
    return f"{name}, line {line}: {found[1][0].lower()}{found[1][1:]}"


# tomllib gives no positions. A file cut after a statement is a file too, so lines are found by bisection.


def _excessive_line(text: str) -> int:
    """The line with a value that is well-formed, but more than tomllib accepts."""
    lines = text.split("\n")

    def is_excessive(count: int) -> bool:
        try:
            tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            return False
        except (ValueError, RecursionError):
            return True
        return False

    return bisect_left(range(len(lines)), True, key=is_excessive)


def _line(text: str, path: tuple[str | int, ...], raw: Mapping[str, Any]) -> int | None:
    """The first line of the statement that sets ``path``, or as much of it as is set.

    None: nothing of it is set, or the line costs too much to find.
    """
    while not _has(raw, path):
        path = path[:-1]
    lines = text.split("\n")
    effort = MAX_EFFORT

    def is_set(count: int) -> bool:
        nonlocal effort
        while effort > 0:
            effort -= sum(map(len, lines[:count]))
            try:
                return _has(tomllib.loads("\n".join(lines[:count])), path)
            except tomllib.TOMLDecodeError:
                count += 1  # within a statement, which begins earlier: complete it
        return False

    found = bisect_left(range(len(lines)), True, key=is_set)
    return found if path and effort > 0 else None


def _has(value: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
