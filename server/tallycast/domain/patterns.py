"""Patterns of item ids: regular expressions of RE2, which match in linear time.

Owns the limits of a pattern and its error messages. Operators write patterns and any client sends the ids
that they are matched with, so no pattern may take more than linear time in the length of an id. Does not
depend on sites.
"""

import re

import re2

# Program and state cache of a pattern, in bytes. A full cache costs time, not correctness.
MEMORY = 1 << 20
# With as many instructions, an id of 256 bytes takes some milliseconds at worst.
MAX_INSTRUCTIONS = 4096

# Python reads `{,5}` as `{0,5}`, RE2 as these four characters.
_NO_MINIMUM = re.compile(r"(?:[^\\]|\\.)*?(\{,[0-9]+\})", re.DOTALL)


class ItemPattern:
    """A pattern that item ids must match as a whole; ``source`` is in the syntax of RE2.

    Raises:
        ValueError: it is not a pattern, or too large.
    """

    __slots__ = ("_compiled",)

    def __init__(self, source: str) -> None:
        found = _NO_MINIMUM.match(source)
        if found is not None:
            raise ValueError(f"write {{0{found[1][1:]} for {found[1]}")
        try:
            self._compiled = re2.compile(source, _options())
        except re2.error as error:
            raise ValueError(f"not a regular expression of RE2: {_reason(error)}") from None
        if self._compiled.programsize > MAX_INSTRUCTIONS:
            raise ValueError("too large a regular expression: use fewer and smaller repetitions")

    def matches(self, item: str) -> bool:
        """Whether ``item``, valid Unicode, matches as a whole."""
        # RE2 decodes UTF-8 itself; for a str it would convert every offset.
        return self._compiled.fullmatch(item.encode()) is not None


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = MEMORY
    options.never_capture = True
    options.log_errors = False
    return options


def _reason(error: re2.error) -> str:
    (reason,) = error.args
    return str(reason.decode(errors="replace") if isinstance(reason, bytes) else reason)
