"""The one timer: each member is visited once a round, and not after leaving."""

from tallycast.transport.timer_wheel import SLICES, TimerWheel


class Visited:
    def __init__(self) -> None:
        self.at: list[float] = []

    def on_tick(self, now: float) -> None:
        self.at.append(now)

    def bye(self, retry_after: float) -> None: ...

    def close_gracefully(self) -> None: ...

    def abort(self) -> None: ...


class Faulty(Visited):
    def on_tick(self, now: float) -> None:
        raise ValueError("a defect")


def test_every_member_is_visited_once_a_round() -> None:
    time = iter(range(1000))
    timers = TimerWheel(lambda: float(next(time)))
    visited = [Visited() for _ in range(25)]
    slices = [timers.add(one) for one in visited]
    assert len(timers) == 25
    assert max(slices.count(i) for i in range(SLICES)) - min(slices.count(i) for i in range(SLICES)) <= 1
    for _ in range(2 * SLICES):
        timers.advance()
    assert all(len(one.at) == 2 and one.at[1] - one.at[0] == SLICES for one in visited)


def test_a_visit_after_leaving_is_none_and_a_defect_stops_no_other() -> None:
    timers = TimerWheel()
    stays, goes, faulty = Visited(), Visited(), Faulty()
    timers.add(faulty)
    timers.add(stays)
    at = timers.add(goes)
    timers.remove(at, goes)
    for _ in range(SLICES):
        timers.advance()
    assert (len(stays.at), goes.at, len(timers)) == (1, [], 2)
