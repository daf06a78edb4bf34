"""The one timer: each member ticks once a revolution, and not after it was removed."""

from tallycast.transport.timer_wheel import SLICES, TimerWheel


class Member:
    def __init__(self) -> None:
        self.at: list[float] = []

    def on_tick(self, now: float) -> None:
        self.at.append(now)

    def bye(self, retry_after: float) -> None: ...

    def close_gracefully(self) -> None: ...

    def abort(self) -> None: ...


class Faulty(Member):
    def on_tick(self, now: float) -> None:
        raise ValueError("a defect")


def test_every_member_ticks_once_a_revolution() -> None:
    time = iter(range(1000))
    timers = TimerWheel(lambda: float(next(time)))
    members = [Member() for _ in range(25)]
    slices = [timers.add(one) for one in members]
    assert len(timers) == 25
    assert max(slices.count(i) for i in range(SLICES)) - min(slices.count(i) for i in range(SLICES)) <= 1
    for _ in range(2 * SLICES):
        timers.advance()
    assert all(len(one.at) == 2 and one.at[1] - one.at[0] == SLICES for one in members)


def test_no_tick_after_removal_and_a_defect_stops_no_other() -> None:
    timers = TimerWheel()
    stays, goes, faulty = Member(), Member(), Faulty()
    timers.add(faulty)
    timers.add(stays)
    at = timers.add(goes)
    timers.remove(at, goes)
    for _ in range(SLICES):
        timers.advance()
    assert (len(stays.at), goes.at, len(timers)) == (1, [], 2)
