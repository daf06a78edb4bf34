"""Patterns of item ids: regular expressions of RE2, which match in linear time.

Owns the limits of a pattern and the words for what is wrong with one. Operators write patterns and strangers
send what they are tried on, so no pattern may take time that is more than linear in the length of an id.
"""

import re

import re2

# Program and state cache of one pattern (bytes). A cache that is full costs time, not correctness.
MEMORY = 1 << 20
# Instructions. An id of 256 bytes takes some milliseconds with as many, at the worst.
MOST_INSTRUCTIONS = 4096

# Python reads `{,5}` as `{0,5}`, RE2 as these four characters.
_NO_MINIMUM = re.compile(r"(?:[^\\]|\\.)*?(\{,[0-9]+\})", re.DOTALL)


class ItemPattern:
    """What all of an item's id must match; ``source`` is in the syntax of RE2.

    Raises:
        ValueError: it is no pattern, or one that is too large.
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
        if self._compiled.programsize > MOST_INSTRUCTIONS:
            raise ValueError("too large a regular expression: use fewer and smaller repetitions")

    def matches(self, item: str) -> bool:
        """Whether all of ``item``, valid Unicode, matches."""
        # RE2 decodes UTF-8 itself and matches characters; of a str it would convert every offset.
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
