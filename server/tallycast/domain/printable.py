"""Untrusted text, escaped for terminals, logs and reports.

Owns which characters are shown unescaped. Ids, names and paths may hold anything that is legal Unicode: a
bidirectional control reorders the rest of the line, an escape sequence moves the cursor or names a window, a
line separator fakes a line, and an invisible character makes two ids look the same. Does not depend on what
is printed.
"""

import json
from collections.abc import Callable

# Invisible in any font, though ``str.isprintable`` and Unicode call them letters, marks or symbols: joiners,
# fillers, blanks and variation selectors, except those for emoji (U+FE0E, U+FE0F).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE0E)), map(chr, range(0xE0100, 0xE01F0))
)


def as_json(char: str) -> str:
    r"""A character as JSON escapes it: ``\u202e``, ``\n``, two escapes for what is beyond U+FFFF."""
    return json.dumps(char)[1:-1]


def printable(text: str, escape: Callable[[str], str] = as_json) -> str:
    """Escape every character of a text that would not be shown as itself.

    These are controls, formats (bidirectional ones among them), separators, blanks other than the space,
    surrogates and what Unicode has not assigned. In a JSON document the escapes mean the same characters.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and char not in _INVISIBLE else escape(char) for char in text)


def printable_lines(text: str) -> str:
    """Escape a text of several lines; line feeds are kept."""
    return "\n".join(map(printable, text.split("\n")))
