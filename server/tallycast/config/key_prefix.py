"""The prefix of a deployment's keys and channels in the engine.

Owns its form. It has no brace, which would be a cluster's hash tag, and nothing that is special in a pattern
of keys. ``tc:``, which follows it in every name, is not part of it: the first one in a name is where the
prefix ends, and so no two prefixes have a name in common. Does not depend on what is named.
"""

import re

MOST = 64
EXPECTED = f"1 to {MOST} letters, digits and any of . _ : -, without tc:"

_FORM = re.compile(rf"(?!.*tc:)[A-Za-z0-9._:-]{{1,{MOST}}}")


def check(text: str) -> str:
    """A prefix as it was given.

    Raises:
        ValueError: it is none.
    """
    if not _FORM.fullmatch(text):
        raise ValueError("not a prefix")
    return text
