"""The Lua scripts, as engines are given them.

Owns the putting together of their files. Must not know what they do, nor how they are run.
"""

from functools import cached_property
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple


class Form(NamedTuple):
    """A script as an engine is given it."""

    text: str
    sha: str


class Script:
    """A Lua script in a file of its own beside this module, with the files it needs ``before`` it.

    ``text`` and ``sha`` are its form for one engine: see ``alone.lua``.
    """

    def __init__(self, name: str, *before: str) -> None:
        self._parts = (name, *before)
        self.text, self.sha = self._form("alone.lua")

    @cached_property
    def scattered(self) -> Form:
        """Its form for the nodes of a cluster: see ``scattered.lua``."""
        return self._form("scattered.lua")

    @cached_property
    def asked(self) -> Form:
        """Its form for a node that is only about to get the slot."""
        text = self.scattered.text.replace("local ASKED = false", "local ASKED = true")
        return Form(text, _sha(text))

    def _form(self, place: str) -> Form:
        name, *before = self._parts
        script, *parts = (Path(__file__).with_name(part).read_text() for part in (name, place, *before))
        shebang, rest = script.split("\n", 1)
        text = "\n".join((shebang, *parts, rest))
        return Form(text, _sha(text))


def _sha(text: str) -> str:
    # SHA-1 is how EVALSHA names a script; nothing rests on its strength.
    return sha1(text.encode(), usedforsecurity=False).hexdigest()
