"""Reactions of one process by themselves: what leaves, what counts as an error, what answers must fit."""

from collections.abc import Callable
from time import monotonic_ns as now

import pytest
from tallycast.contract.messages import Ack
from tallycast_load.measure import violations
from tallycast_load.measure.violations import Violations
from tallycast_load.plan.schedule import DueReaction
from tallycast_load.reactions.ledger import FIRST_REF, SentReaction
from tallycast_load.reactions.scheduler import ReactionScheduler

from tests.load.support import make_context

SECOND = 1_000_000_000
DUE = DueReaction(0.0, 3, 1, 0.0, 1)


class FakeSender:
    """Takes reactions and sends them nowhere."""

    def __init__(self) -> None:
        self.open = True
        self.sent: list[int] = []

    def can_send(self, _visitor: int) -> bool:
        return self.open

    def send(self, ref: int, _sent: SentReaction) -> None:
        self.sent.append(ref)

    def on_answered(self, _sent: SentReaction, _version: int) -> None: ...


class Scene:
    """A scheduler with one reaction that is due now."""

    def __init__(self) -> None:
        self.found, self.sender = Violations(), FakeSender()
        self.recorded: list[tuple[int, int]] = []
        self.scheduler = ReactionScheduler(
            make_context(self.found, ["a", "b"]),
            ["like", "dislike"],
            self.sender,
            lambda stage, nanoseconds: self.recorded.append((stage, nanoseconds)),
        )

    def begin(self, at: int) -> None:
        self.scheduler.start(iter([DUE]), at)

    def answer(self, item: str = "b", reaction: str | None = "like", visitor: int = 3) -> None:
        self.scheduler.on_ack(FIRST_REF, Ack(item, reaction, 10, {}), visitor)


async def test_what_is_due_at_the_end_leaves() -> None:
    """The loop had no turn since it was due."""
    scene, at = Scene(), now() + SECOND // 100
    scene.begin(at)
    while now() < at:
        pass
    assert scene.sender.sent == []
    scene.scheduler.stop()
    assert scene.sender.sent == [FIRST_REF]
    assert scene.scheduler.counters == {"sent": 1}


async def test_what_is_not_due_at_the_end_never_was() -> None:
    scene = Scene()
    scene.begin(now() + 60 * SECOND)
    scene.scheduler.stop()
    assert (scene.sender.sent, scene.scheduler.counters, dict(scene.scheduler.late)) == ([], {}, {})


async def test_what_cannot_leave_waits_and_counts() -> None:
    scene = Scene()
    scene.sender.open = False
    scene.begin(now() - SECOND)
    scene.scheduler.send_due()
    assert (scene.scheduler.waiting, scene.recorded) == (1, [])
    scene.scheduler.stop()
    assert scene.scheduler.counters == {"never sent": 1}
    assert scene.scheduler.failed == {1: 1}
    ((stage, waited),) = scene.recorded
    assert (stage, waited >= SECOND) == (1, True)


@pytest.mark.parametrize(("intentional", "errors"), [(True, 0), (False, 1)])
async def test_a_lost_connection_is_an_error_unless_it_was_intentional(
    intentional: bool, errors: int
) -> None:
    scene = Scene()
    scene.begin(now())
    scene.scheduler.send_due()
    scene.scheduler.on_disconnected(3, intentional=intentional)
    assert scene.scheduler.counters == {"sent": 1, "cut off": 1}
    assert scene.scheduler.failed.total() == errors
    scene.scheduler.stop()


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (lambda scene: scene.answer(), []),
        (lambda scene: scene.answer(item="a"), [violations.WRONG_ANSWER]),
        (lambda scene: scene.answer(reaction=None), [violations.WRONG_ANSWER]),
        (lambda scene: scene.answer(visitor=4), [violations.WRONG_ANSWER]),
        (lambda scene: (scene.answer(), scene.answer()), [violations.ANSWERED_TWICE]),
        (lambda scene: scene.scheduler.expire(timeout=0), [violations.UNANSWERED]),
        # It came after all, and is no second one.
        (lambda scene: (scene.scheduler.expire(timeout=0), scene.answer()), [violations.UNANSWERED]),
    ],
)
async def test_an_answer_fits_and_comes_once(answer: Callable[[Scene], object], names: list[str]) -> None:
    scene = Scene()
    scene.begin(now() - SECOND)
    scene.scheduler.send_due()
    answer(scene)
    assert list(scene.found.found) == names
    scene.scheduler.stop()
