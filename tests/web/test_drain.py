"""The order and the pace in which connections leave; what they do then, their own tests say."""

import asyncio
import time

import pytest
from tallycast.transport import drain as module
from tallycast.transport.drain import LATEST, SOONEST, Drain
from tallycast.transport.timer_wheel import TimerWheel


class Drainable:
    """Leaves when it is asked to, unless it is deaf."""

    def __init__(self, timers: TimerWheel, *, deaf: bool = False) -> None:
        self.answer: float | None = None
        self.left_at: float | None = None
        self.aborted = False
        self._timers = timers
        self._deaf = deaf
        self._slice = timers.add(self)

    def on_tick(self, now: float) -> None: ...

    def bye(self, retry_after: float) -> None:
        assert self.answer is None
        assert self.left_at is None
        self.answer = retry_after

    def close_gracefully(self) -> None:
        if self.left_at is None:
            self.left_at = time.monotonic()
        if not self._deaf:
            self._timers.remove(self._slice, self)

    def abort(self) -> None:
        self.aborted = True
        self._timers.remove(self._slice, self)


async def test_all_get_bye_first_and_then_leave_evenly() -> None:
    timers = TimerWheel()
    connections = [Drainable(timers) for _ in range(1000)]
    drain = Drain(timers)
    assert not drain.begun
    began = time.monotonic()
    running = asyncio.create_task(drain.run(began + 2.0))
    await asyncio.sleep(0)
    assert drain.begun
    await running
    assert len(timers) == 0
    pauses = {one.answer for one in connections}
    assert None not in pauses
    assert all(SOONEST <= pause <= LATEST for pause in pauses if pause is not None)
    assert len(pauses) > 10, "they do not all come back at once"
    left = sorted(one.left_at - began for one in connections if one.left_at is not None)
    # Never ahead of the pace, however late a busy machine lets it be.
    assert all(at >= 1.6 * number / 1000 - 0.001 for number, at in enumerate(left))
    assert not any(one.aborted for one in connections)


async def test_a_few_do_not_take_all_of_the_time() -> None:
    timers = TimerWheel()
    connections = [Drainable(timers) for _ in range(3)]
    began = time.monotonic()
    await Drain(timers).run(began + 3600)
    assert time.monotonic() - began < 60
    assert all(one.left_at for one in connections)


async def test_without_connections_there_is_no_wait() -> None:
    await Drain(TimerWheel()).run(time.monotonic() + 3600)


async def test_a_connection_that_does_not_go_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 1000.0)
    timers = TimerWheel()
    deaf, other = Drainable(timers, deaf=True), Drainable(timers)
    until = time.monotonic() + 0.3
    await Drain(timers).run(until)
    assert time.monotonic() >= until
    assert (deaf.aborted, other.aborted) == (True, False)


async def test_a_connection_that_came_meanwhile_leaves_too() -> None:
    timers = TimerWheel()
    Drainable(timers)
    running = asyncio.create_task(Drain(timers).run(time.monotonic() + 3600))
    await asyncio.sleep(0)
    late = Drainable(timers)
    await running
    assert late.left_at is not None
    assert not late.aborted


async def test_without_time_all_leave_at_once() -> None:
    timers = TimerWheel()
    connections = [Drainable(timers) for _ in range(500)]
    began = time.monotonic()
    await Drain(timers).run(began)
    assert all(one.answer and one.left_at for one in connections)
    assert len(timers) == 0
