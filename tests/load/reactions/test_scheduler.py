"""Reactions of one process by themselves: what leaves, what counts as an error, what answers must fit."""

from collections.abc import Callable
from time import monotonic_ns as now

import pytest
from tallycast.contract.messages import Ack
from tallycast_load.measure import violations
from tallycast_load.measure.violations import Faults
from tallycast_load.plan.schedule import Due
from tallycast_load.reactions.ledger import FIRST_REF, Sent
from tallycast_load.reactions.scheduler import Reactor

from tests.load.support import room

SECOND = 1_000_000_000
DUE = Due(0.0, 3, 1, 0.0, 1)


class Post:
    """Takes reactions and sends them nowhere."""

    def __init__(self) -> None:
        self.open = True
        self.sent: list[int] = []

    def can(self, _visitor: int) -> bool:
        return self.open

    def send(self, ref: int, _sent: Sent) -> None:
        self.sent.append(ref)

    def answered(self, _sent: Sent, _version: int) -> None: ...


class Scene:
    """A reactor with one reaction that is due now."""

    def __init__(self) -> None:
        self.found, self.post = Faults(), Post()
        self.recorded: list[tuple[int, int]] = []
        self.reactor = Reactor(
            room(self.found, ["a", "b"]),
            ["like", "dislike"],
            self.post,
            lambda stage, nanoseconds: self.recorded.append((stage, nanoseconds)),
        )

    def begin(self, at: int) -> None:
        self.reactor.start(iter([DUE]), at)

    def answer(self, item: str = "b", reaction: str | None = "like", visitor: int = 3) -> None:
        self.reactor.acked(FIRST_REF, Ack(item, reaction, 10, {}), visitor)


async def test_what_is_due_at_the_end_leaves() -> None:
    """The loop had no turn since it was due."""
    scene, at = Scene(), now() + SECOND // 100
    scene.begin(at)
    while now() < at:
        pass
    assert scene.post.sent == []
    scene.reactor.halt()
    assert scene.post.sent == [FIRST_REF]
    assert scene.reactor.counters == {"sent": 1}


async def test_what_is_not_due_at_the_end_never_was() -> None:
    scene = Scene()
    scene.begin(now() + 60 * SECOND)
    scene.reactor.halt()
    assert (scene.post.sent, scene.reactor.counters, dict(scene.reactor.late)) == ([], {}, {})


async def test_what_cannot_leave_waits_and_counts() -> None:
    scene = Scene()
    scene.post.open = False
    scene.begin(now() - SECOND)
    scene.reactor.ring()
    assert (scene.reactor.waiting, scene.recorded) == (1, [])
    scene.reactor.halt()
    assert scene.reactor.counters == {"never sent": 1}
    assert scene.reactor.failed == {1: 1}
    ((stage, waited),) = scene.recorded
    assert (stage, waited >= SECOND) == (1, True)


@pytest.mark.parametrize(("wanted", "errors"), [(True, 0), (False, 1)])
async def test_a_lost_connection_is_an_error_unless_it_was_wanted(wanted: bool, errors: int) -> None:
    scene = Scene()
    scene.begin(now())
    scene.reactor.ring()
    scene.reactor.gone(3, wanted=wanted)
    assert scene.reactor.counters == {"sent": 1, "cut off": 1}
    assert scene.reactor.failed.total() == errors
    scene.reactor.halt()


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (lambda scene: scene.answer(), []),
        (lambda scene: scene.answer(item="a"), [violations.WRONG_ANSWER]),
        (lambda scene: scene.answer(reaction=None), [violations.WRONG_ANSWER]),
        (lambda scene: scene.answer(visitor=4), [violations.WRONG_ANSWER]),
        (lambda scene: (scene.answer(), scene.answer()), [violations.ANSWERED_TWICE]),
        (lambda scene: scene.reactor.give_up(patience=0), [violations.UNANSWERED]),
        # It came after all, and is no second one.
        (lambda scene: (scene.reactor.give_up(patience=0), scene.answer()), [violations.UNANSWERED]),
    ],
)
async def test_an_answer_fits_and_comes_once(answer: Callable[[Scene], object], names: list[str]) -> None:
    scene = Scene()
    scene.begin(now() - SECOND)
    scene.reactor.ring()
    answer(scene)
    assert list(scene.found.found) == names
    scene.reactor.halt()
