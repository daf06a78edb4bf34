"""Text from outside, made safe to print for a person: in a terminal, a log, a report.

Owns which characters are shown as they are. Ids, names and paths may hold anything that is legal Unicode: a
bidirectional control reorders the rest of the line, an escape sequence moves the cursor or names a window, a
line separator fakes a line, and an invisible character makes two ids look the same. Does not depend on what
is printed.
"""

import json
from collections.abc import Callable

# Not shown by any font, though Unicode says that they are letters, marks or symbols, as ``str.isprintable``
# does: joiners, fillers, blanks and the selectors of variants. Those for emoji (U+FE0E, U+FE0F) are shown.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE0E)), map(chr, range(0xE0100, 0xE01F0))
)


def as_json(char: str) -> str:
    r"""A character as JSON escapes it: ``\u202e``, ``\n``, two escapes for what is beyond U+FFFF."""
    return json.dumps(char)[1:-1]


def printable(text: str, escape: Callable[[str], str] = as_json) -> str:
    """The text with every character escaped that would not be shown as itself.

    Those are controls, formats (bidirectional ones among them), separators, blanks other than the space,
    surrogates and what Unicode has not assigned. In a JSON document the escapes mean the same characters.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and char not in _UNSEEN else escape(char) for char in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, whose line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))
