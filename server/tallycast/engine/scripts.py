"""The Lua scripts, in the form in which engines get them.

Owns how their files are concatenated. Does not depend on what they do, nor on how they are run.
"""

from functools import cached_property
from hashlib import sha1
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

# The preludes, and what checks the engine itself.
LUA = resources.files("tallycast.engine") / "lua"


class Source(NamedTuple):
    """The text of a script, and the digest by which EVALSHA names it."""

    text: str
    sha: str


class Script:
    """A file of ``folder``, with the files there whose functions it calls.

    ``text`` and ``sha`` are its source for a standalone engine. Each kind of engine has a prelude, which
    defines what differs there: see ``standalone.lua`` and ``cluster.lua``.
    """

    def __init__(self, folder: Traversable, name: str, *includes: str) -> None:
        self._folder = folder
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
        shebang, rest = (self._folder / self._name).read_text().split("\n", 1)
        files = [*(LUA / part for part in prelude), *(self._folder / part for part in self._includes)]
        text = "\n".join((shebang, *(file.read_text() for file in files), rest))
        # SHA-1 is how EVALSHA names a script; no security depends on it.
        return Source(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
