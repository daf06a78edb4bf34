"""A running contender with a load generator: the steps that several figures share.

Owns the checks of the generator's responses: a figure counts only when every message arrived once and whole.
Does not depend on any figure.
"""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders.base import Contender, Dialect, Running
from bench.contenders.tallycast import react
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Scale
from bench.load.generator import SENDERS, WATCHERS, LoadGenerator
from bench.usage import cpu_used, wait_until_idle


@dataclass(frozen=True)
class Rig:
    """A running contender with a load generator."""

    contender: Contender
    running: Running
    load: LoadGenerator

    @property
    def dialect(self) -> Dialect:
        """The messages of the contender."""
        return self.contender.dialect

    @property
    def processes(self) -> dict[str, int]:
        """The process ids of the contender, by name."""
        return self.running.processes

    def open_watchers(
        self,
        count: int,
        items: int = 1,
        *,
        prefix: str = "bench",
        group: int = WATCHERS,
        concurrency: int | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        """Open connections that watch, spread over items whose names begin with ``prefix``.

        ``concurrency`` limits how many are set up at a time; ``receive_buffer`` is the kernel's, in bytes.
        """
        dialect = self.dialect
        self.load.connect(
            group,
            count,
            path=dialect.path.replace("bench", prefix),
            items=items,
            concurrency=concurrency or count,
            protocol=dialect.protocol,
            first_messages=[dialect.first_messages] if dialect.first_messages else (),
            ready=dialect.ready,
            timeout=60,
            receive_buffer=receive_buffer,
        )

    def open_senders(self, count: int) -> None:
        """Open connections that send triggers or reactions, and watch nothing."""
        dialect, authenticate = self.dialect, self.running.first_messages
        self.load.connect(
            SENDERS,
            count,
            path=dialect.plain_path,
            protocol=dialect.protocol,
            first_messages=authenticate or ([dialect.first_messages] if dialect.first_messages else ()),
            ready='{"type":"ready"' if authenticate else dialect.ready,
        )

    def close_watchers(self) -> None:
        """Close the connections that watch."""
        self.load.disconnect(WATCHERS)

    def wait_until_idle(self) -> None:
        """Wait until the contender's processes have nothing left to do."""
        wait_until_idle(self.processes)

    def broadcast(self, rounds: int, items: int = 1) -> None:
        """Send every watcher one update a round, each when the last watcher has the one before.

        Raises:
            InvalidMeasurementError: an update did not arrive.
        """
        response = self.load.run(
            "broadcast",
            rounds=rounds,
            messages=items,
            message=self.dialect.trigger,
            update=self.dialect.update,
            reply=self.dialect.reply,
            timeout=20,
        )
        if response["rounds"] != rounds:
            raise InvalidMeasurementError(
                f"only {response['rounds']} of {rounds} updates reached all watchers in time"
            )

    def check_broadcast(self, rounds: int, watchers: int) -> None:
        """Check the updates of the last broadcast, late ones included.

        Raises:
            InvalidMeasurementError: updates were lost, duplicated, or of another size.
        """
        response = self.load.run("collect", seconds=0.02)
        expected, updates = rounds * watchers, response["updates"]
        if updates != expected or response["duplicates"]:
            raise InvalidMeasurementError(
                f"{updates:,} updates instead of {expected:,}, {response['duplicates']:,} of them twice"
            )
        if response["bytes"] != expected * self.dialect.update_size:
            size = response["bytes"] / expected
            raise InvalidMeasurementError(
                f"updates of {size:.1f} bytes instead of {self.dialect.update_size}"
            )

    def broadcast_cpu(self, scale: Scale, items: int, watchers: int) -> dict[str, float]:
        """Return the CPU time (s) of each process and the load generator for one pass of broadcasts."""
        self.broadcast(1, items)  # Others have filled the caches meanwhile.
        with cpu_used({**self.processes, "load": self.load.pid}) as used:
            self.broadcast(scale.broadcasts, items)
        self.check_broadcast(scale.broadcasts, watchers)
        return used

    def exchange(self, total: int, prefix: str, items: int = 1) -> None:
        """Send reactions, each sender its next one when it has its reply.

        Raises:
            InvalidMeasurementError: not all of them had a reply.
        """
        response = self.load.run(
            "closed_loop",
            total=total,
            items=items,
            message=react(prefix),
            reply=self.dialect.reply,
            timeout=60,
        )
        if response["replies"] != total:
            raise InvalidMeasurementError(f"{response['replies']:,} replies to {total:,} messages")

    def exchange_cpu(self, scale: Scale, prefix: str, items: int = 1) -> dict[str, float]:
        """Return the CPU time (s) of each process for one pass of reactions."""
        self.exchange(scale.reactions // 4, prefix, items)
        with cpu_used(self.processes) as used:
            self.exchange(scale.reactions, prefix, items)
        return used

    def react_at(self, rate: int, seconds: float, prefix: str, **arguments: Any) -> dict[str, Any]:
        """Send reactions at a rate (1/s), and return the response of the load generator."""
        return self.load.run(
            "open_loop",
            rate=rate,
            seconds=seconds,
            message=react(prefix),
            reply=self.dialect.reply,
            update=self.dialect.update,
            **arguments,
        )

    def check_store(self, prefix: str, visitors: int) -> None:
        """Check that the first item of a prefix counts every visitor once.

        Raises:
            InvalidMeasurementError: it does not.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=10)
        connection.request("GET", f"/v1/items?item={prefix}-000")
        answer: Any = json.loads(connection.getresponse().read())
        connection.close()
        count = sum(answer["items"][0]["counts"].values())
        if count != visitors:
            raise InvalidMeasurementError(f"the store counts {count:,} visitors instead of {visitors:,}")


@contextmanager
def rig(contender: Contender, folder: Path, senders: int = 0) -> Iterator[Rig]:
    """Start a contender and a load generator, and open its senders."""
    with contender.start(folder, senders) as running, LoadGenerator(running.port) as load:
        started = Rig(contender, running, load)
        if senders:
            started.open_senders(senders)
        yield started


def passes(count: int, measure: Callable[[], Mapping[str, float]]) -> Generator[str, None, Counter[str]]:
    """Repeat a measurement, each time as a step of its own, and return the sum by process."""
    total: Counter[str] = Counter()
    for _ in range(count):
        yield MEASURE
        total.update(measure())
    return total


def check_shown(response: Mapping[str, Any]) -> None:
    """Check that every watcher was shown every reaction, and no update was older than the one before.

    Raises:
        InvalidMeasurementError: a watcher was not.
    """
    if response["missing"] or response["regressions"] or response.get("behind"):
        raise InvalidMeasurementError(
            f"{response['missing']:,} reactions were never shown, "
            f"{response['regressions']:,} updates stepped back, "
            f"{response.get('behind', 0):,} watchers do not end with the latest"
        )
