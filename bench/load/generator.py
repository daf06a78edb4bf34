"""Runs the load generator: one process for one server, controlled by commands.

Owns the process and the checks of its responses. Does not depend on contenders: what is sent and expected is
an argument. ``main.c`` describes the commands.
"""

import json
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bench.errors import InvalidMeasurementError
from bench.programs import program

# Groups of connections. The last two watch as well, and stop reading: for good, or for a while.
WATCHERS, SENDERS, STALLED, RETURNING = range(4)
GRACE = 30.0  # s, on top of the time that a command may take


class LoadGenerator:
    """A load generator for the server at a local port."""

    def __init__(self, port: int) -> None:
        command = [str(program("load")), "127.0.0.1", str(port)]
        self._received = b""
        self._folder = tempfile.TemporaryDirectory(prefix="tallycast-load-")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the generator."""
        return self._process.pid

    def close(self) -> None:
        """End the process, and with it all connections."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def connect(
        self, group: int, count: int, *, first_messages: Sequence[Sequence[str]] = (), **arguments: Any
    ) -> None:
        """Open connections, in place of those that the group has.

        ``first_messages`` has one entry a connection, used in turn.

        Raises:
            InvalidMeasurementError: not all of them became ready.
        """
        if first_messages:
            path = Path(self._folder.name) / "first_messages"
            path.write_text("".join("\t".join(messages) + "\n" for messages in first_messages))
            arguments["first_messages"] = path
        ready = self.run("connect", group=group, count=count, **arguments)["ready"]
        if ready != count:
            raise InvalidMeasurementError(f"only {ready:,} of {count:,} connections were opened")

    def disconnect(self, group: int) -> None:
        """Close the connections of a group."""
        self.run("disconnect", group=group)

    def run(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command and return its response.

        Raises:
            InvalidMeasurementError: the server closed connections or rejected messages meanwhile, or the
                generator did not respond.
        """
        self._send(command, **arguments)
        limit = float(arguments.get("timeout") or 30) * float(arguments.get("rounds") or 1)
        response = self._response(limit + float(arguments.get("seconds") or 0) + GRACE)
        if response["lost"] and command != "connect":
            raise InvalidMeasurementError(f"{response['lost']:,} connections were closed by the server")
        return response

    @contextmanager
    def running(self, command: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Run a command that lasts until the next one during the ``with`` block.

        Yields its response, filled in at the end.

        Raises:
            InvalidMeasurementError: as for ``run``.
        """
        response: dict[str, Any] = {}
        self._send(command, **arguments)
        yield response
        self._send("collect", seconds=0)
        response.update(self._response(GRACE))
        self._response(GRACE)

    def _send(self, command: str, **arguments: Any) -> None:
        fields = [f"{key}={value}" for key, value in arguments.items() if value is not None]
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join([command, *fields]).encode() + b"\n")

    def _response(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._received:
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                raise InvalidMeasurementError(f"no response of the load generator within {timeout:.0f} s")
            received = self._process.stdout.read(65536)
            if not received:
                raise InvalidMeasurementError("the load generator ended")
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        response: dict[str, Any] = json.loads(line)
        if response["errors"]:
            raise InvalidMeasurementError(f"{response['errors']:,} messages were rejected")
        return response
