"""The Lua scripts, in the form in which engines get them.

Owns how their files are concatenated. Does not depend on what they do, nor on how they are run.
"""

from functools import cached_property
from hashlib import sha1
from importlib import resources
from typing import NamedTuple

_LUA = resources.files("tallycast") / "ledger" / "lua"


class Source(NamedTuple):
    """The text of a script, and the digest by which EVALSHA names it."""

    text: str
    sha: str


class Script:
    """A file in ``ledger/lua``, with the files whose functions it calls.

    ``text`` and ``sha`` are its source for a standalone engine. Each kind of engine has a prelude, which
    defines what differs there: see ``standalone.lua`` and ``cluster.lua``.
    """

    def __init__(self, name: str, *includes: str) -> None:
        self._name = name
        self._includes = includes
        self.text, self.sha = self._source("standalone.lua")

    @cached_property
    def cluster(self) -> Source:
        """The source for a node of a cluster that owns the slot."""
        return self._source("stable.lua", "cluster.lua")

    @cached_property
    def importing(self) -> Source:
        """The source for a node of a cluster that is importing the slot."""
        return self._source("importing.lua", "cluster.lua")

    def _source(self, *prelude: str) -> Source:
        # The shebang, with the script's flags, must stay the first line.
        shebang, rest = (_LUA / self._name).read_text().split("\n", 1)
        parts = ((_LUA / part).read_text() for part in (*prelude, *self._includes))
        text = "\n".join((shebang, *parts, rest))
        # SHA-1 is how EVALSHA names a script; no security depends on it.
        return Source(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
