"""Drives the load program: one process for one server, told what to do line by line.

Owns the process and the check of what it counted. Does not depend on contenders: what is sent and awaited is
given.
"""

import json
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bench.errors import Wrong
from bench.programs import program

# The last two are watchers as well: they stop reading, for good or for a while.
WATCHERS, SENDERS, STOPPED, AWAY = range(4)
# On top of the time that a command gives itself.
GRACE = 30.0


class Load:
    """The load on one server. ``close`` ends it."""

    def __init__(self, port: int) -> None:
        command = [str(program("load")), "127.0.0.1", str(port)]
        self._heard = b""
        self._folder = tempfile.TemporaryDirectory(prefix="tallycast-load-")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process id of the load program."""
        return self._process.pid

    def end(self) -> None:
        """End the program, and with it all its connections."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def open(
        self, group: int, count: int, *, hellos: Sequence[Sequence[str]] = (), **words: Any
    ) -> dict[str, Any]:
        """Open connections, in place of those that the group has. ``hellos``: a connection's first messages,
        in turn.

        Raises:
            Wrong: not all of them got through.
        """
        if hellos:
            path = Path(self._folder.name) / "hellos"
            path.write_text("".join("\t".join(messages) + "\n" for messages in hellos))
            words["hello"] = path
        answer = self.tell("open", group=group, count=count, **words)
        if answer["ready"] != count:
            raise Wrong(f"only {answer['ready']:,} of {count:,} connections were opened")
        return answer

    def close(self, group: int) -> None:
        """Close the connections of a group."""
        self.tell("close", group=group)

    def tell(self, command: str, **words: Any) -> dict[str, Any]:
        """Run a command; its answer.

        Raises:
            Wrong: the server closed connections or refused messages meanwhile, or the program did not answer.
        """
        self._ask(command, **words)
        limit = float(words.get("timeout") or 30) * float(words.get("rounds") or 1) + float(
            words.get("seconds") or 0
        )
        answer = self._answer(limit + GRACE)
        if answer["lost"] and command != "open":
            raise Wrong(f"{answer['lost']:,} connections were closed by the server")
        return answer

    @contextmanager
    def meanwhile(self, command: str, **words: Any) -> Iterator[dict[str, Any]]:
        """Run a command that ends with the next one for as long as the ``with`` block; its answer is there at
        the end.

        Raises:
            Wrong: as for ``tell``.
        """
        answer: dict[str, Any] = {}
        self._ask(command, **words)
        yield answer
        self._ask("rest", seconds=0)
        answer.update(self._answer(GRACE))
        self._answer(GRACE)

    def _ask(self, command: str, **words: Any) -> None:
        given = [f"{key}={value}" for key, value in words.items() if value is not None]
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join([command, *given]).encode() + b"\n")

    def _answer(self, within: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._heard:
            if not select.select([self._process.stdout], [], [], within)[0]:
                raise Wrong(f"the load program said nothing for {within:.0f} s")
            got = self._process.stdout.read(65536)
            if not got:
                raise Wrong("the load program died")
            self._heard += got
        line, _, self._heard = self._heard.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if answer["errors"]:
            raise Wrong(f"{answer['errors']:,} messages were refused")
        return answer
