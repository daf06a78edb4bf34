"""The steady comparison of the hub's counts with the stored ones, and the repair of differences.

Owns the schedule: every followed item is compared once in a period, a share of them at a time. Does not
depend on how updates travel, or on which connections watch.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog

from tallycast.contract.errors import Unavailable
from tallycast.fanout.topic import UNKNOWN, Topic
from tallycast.ledger.reader import State

# Every followed item is compared once in this time (s), a share of them at a time.
PERIOD = 25.0
SHARES = 100
# The store is ahead of the feed by the time that a message travels: only an update that did not arrive within
# this time (s) was missed.
GRACE = 1.0
LOG_EVERY = 10.0

# Called with a topic, its version before the read began, and the stored state.
Accept = Callable[[Topic, int, State], None]

_log = structlog.get_logger("reconciler")


class Reconciler:
    """Compares every followed item with the store once in ``PERIOD``, evenly, and repairs differences.

    ``repairs`` counts the repairs: none, as long as everything else works.

    Args:
        compare: reads the stored state of the items of channels, and calls a function with each.
        accept: publishes a stored state.
    """

    def __init__(self, compare: Callable[[Iterable[bytes], Accept], Awaitable[None]], accept: Accept) -> None:
        self.repairs = 0
        self._compare = compare
        self._accept = accept
        self._shares: list[set[bytes]] = [set() for _ in range(SHARES)]
        self._logged_at = -LOG_EVERY
        self._logged = 0

    def add(self, channel: bytes) -> None:
        """Compare this item from now on."""
        self._share(channel).add(channel)

    def remove(self, channel: bytes) -> None:
        """Compare it no longer."""
        self._share(channel).discard(channel)

    async def run(self) -> None:
        """Compare until cancelled."""
        due = time.monotonic()
        while True:
            for share in self._shares:
                # After an outage the shares that were left out are not made up for.
                due = max(due + PERIOD / SHARES, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                if share:
                    await self._compare_share(share)

    def _share(self, channel: bytes) -> set[bytes]:
        # An item stays in its share, so that it waits no longer than a period, however many others change.
        return self._shares[hash(channel) % SHARES]

    async def _compare_share(self, channels: Iterable[bytes]) -> None:
        ahead: list[tuple[Topic, int, State]] = []

        def accept(topic: Topic, floor: int, state: State) -> None:
            if topic.version == UNKNOWN:
                self._accept(topic, floor, state)
            elif state.version > topic.version:
                ahead.append((topic, topic.highest_version, state))
            elif state.version < floor == topic.version:
                self._repair(topic, floor, state)

        try:
            await self._compare(channels, accept)
        except Unavailable:
            pass  # left for the next period
        if ahead:
            asyncio.get_running_loop().call_later(GRACE, self._repair_missed, ahead)

    def _repair_missed(self, ahead: list[tuple[Topic, int, State]]) -> None:
        for topic, highest, state in ahead:
            # If the update has arrived and is superseded by a lower version, the store went back since, and
            # the state that was read is void.
            if topic.version < state.version and not highest < state.version <= topic.highest_version:
                self._repair(topic, topic.version, state)

    def _repair(self, topic: Topic, floor: int, state: State) -> None:
        self._accept(topic, floor, state)
        self.repairs += 1
        if time.monotonic() - self._logged_at >= LOG_EVERY:
            _log.warning("stale counts repaired", items=self.repairs - self._logged)
            self._logged_at, self._logged = time.monotonic(), self.repairs
