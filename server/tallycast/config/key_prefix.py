"""The prefix of a deployment's keys and channels in the engine.

Owns its form. It has no brace, which would start a cluster's hash tag, and no character that is special in a
pattern of keys. ``tc:``, which follows it in every name, is not part of it: its first occurrence ends the
prefix, so that no two prefixes share a name. Does not depend on what is named.
"""

import re

MAX_LENGTH = 64
EXPECTED = f"1 to {MAX_LENGTH} letters, digits and any of . _ : -, without tc:"

_FORM = re.compile(rf"(?!.*tc:)[A-Za-z0-9._:-]{{1,{MAX_LENGTH}}}")


def check(text: str) -> str:
    """Return ``text`` when it is a prefix.

    Raises:
        ValueError: it is not.
    """
    if not _FORM.fullmatch(text):
        raise ValueError("not a prefix")
    return text
