"""The Lua scripts, as engines are given them.

Owns the putting together of their files. Must not know what they do, nor how they are run.
"""

from functools import cached_property
from hashlib import sha1
from importlib import resources
from typing import NamedTuple

_LUA = resources.files("tallycast") / "ledger" / "lua"


class Form(NamedTuple):
    """A script as an engine is given it."""

    text: str
    sha: str


class Script:
    """A Lua script in a file of its own in ``ledger/lua``, with the files it needs ``before`` it.

    ``text`` and ``sha`` are its form for one engine: see ``standalone.lua``.
    """

    def __init__(self, name: str, *before: str) -> None:
        self._parts = (name, *before)
        self.text, self.sha = self._form("standalone.lua")

    @cached_property
    def cluster(self) -> Form:
        """Its form for the nodes of a cluster: see ``cluster.lua``."""
        return self._form("cluster.lua")

    @cached_property
    def asked(self) -> Form:
        """Its form for a node that is only about to get the slot."""
        text = self.cluster.text.replace("local ASKED = false", "local ASKED = true")
        return Form(text, _sha(text))

    def _form(self, place: str) -> Form:
        name, *before = self._parts
        script, *parts = ((_LUA / part).read_text() for part in (name, place, *before))
        shebang, rest = script.split("\n", 1)
        text = "\n".join((shebang, *parts, rest))
        return Form(text, _sha(text))


def _sha(text: str) -> str:
    # SHA-1 is how EVALSHA names a script; nothing rests on its strength.
    return sha1(text.encode(), usedforsecurity=False).hexdigest()
