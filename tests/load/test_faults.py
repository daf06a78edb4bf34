"""A server that breaks one promise: the harness says which one, and no other."""

import asyncio
from dataclasses import dataclass

import pytest
from tallycast_load.coordinator.run import Result
from tallycast_load.measure import violations
from tallycast_load.verdict.totals import Totals
from tallycast_load.verdict.verdict import ERROR, INVALID, PASSED, WRONG, Verdict
from tallycast_load.worker.worker import LAST_TIMEOUT

from tests.load.fake import Fake, Faults
from tests.load.support import harness


@dataclass(frozen=True)
class Case:
    """What a server does wrong, the checks that must fail for it, and a word that must be said."""

    name: str
    does: Faults
    checks: frozenset[str]
    says: str
    transport: str = "ws"


def case(name: str, does: Faults, checks: str, says: str) -> Case:
    return Case(name, does, frozenset(checks.split()), says)


CASES = [
    case("nothing", Faults(), "", ""),
    Case("nothing, to event streams", Faults(), frozenset(), "", "sse"),
    case("loses an acknowledged reaction", Faults(lose_reactions_from=40), "acked counts", "stored"),
    case("loses an ack", Faults(lose_ack=20), "answers", violations.UNANSWERED),
    case("answers twice", Faults(answer_twice=20), "answers", violations.ANSWERED_TWICE),
    case("repeats a version", Faults(repeat_version=30), "versions", violations.REPEATED),
    case("has two counts of a version", Faults(two_counts=30), "versions", violations.TWO_COUNTS),
    case("goes backwards", Faults(go_down=30), "versions", violations.WENT_DOWN),
    case("drops frames", Faults(drop_frames_from=30), "converged", "the store has"),
    case("cuts a connection", Faults(cut_connection=30), "closes", violations.LOST),
    case("closes without a code", Faults(close_without_code=30), "closes", violations.LOST),
    case("counts wrong", Faults(miscount=1), "counts converged", "the visitors hold"),
    case("says what is no message", Faults(garbage=30), "answers", violations.UNREADABLE),
    case("answers something else", Faults(wrong_answer=20), "answers", violations.WRONG_ANSWER),
    # What it may do: none of it is a fault.
    case("says goodbye", Faults(goodbye=30), "", ""),
    case("is odd", Faults(odd=True), "", ""),
]
PLAN = {
    "connections": "8",
    "items": "2",
    "reactions": "40/s",
    "duration": "2s",
    "warmup": "0s",
    "spread": "uniform",
}


# The first reads are the coordinator's: of the site's reactions, and of the items at the end.
UNREAD = Case("answers no more while visitors are compared", Faults(fail_reads_from=3), frozenset(), "")


async def run_all() -> dict[str, Result]:
    """All cases at once: each waits for its own clock most of the time."""

    async def one(case: Case) -> tuple[str, Result]:
        async with Fake(case.does) as fake:
            return case.name, await harness(fake.url, **PLAN, transport=case.transport)

    return dict(await asyncio.gather(*map(one, [*CASES, UNREAD])))


async def test_each_is_found_by_name(subtests: pytest.Subtests) -> None:
    """One test, so that tests in parallel do not each make all the runs."""
    results = await run_all()
    for case in CASES:
        with subtests.test(case.name):
            check_found(case, results[case.name].verdict)
    with subtests.test("what was never answered is an error and a latency"):
        check_unanswered(results["loses an ack"].totals)
    with subtests.test(UNREAD.name):
        check_unread(results[UNREAD.name])


def check_found(case: Case, verdict: Verdict) -> None:
    wrong = {check.name for check in verdict.checks if check.passed is False}
    doubtful = {check.name for check in verdict.checks if check.passed is None}
    assert wrong <= case.checks <= wrong | doubtful, verdict
    assert case.says in " ".join(detail for check in verdict.checks for detail in check.details)
    # On a machine that is busy with something else the harness may say that it did not keep up itself.
    assert not doubtful or verdict.complaints
    assert verdict.status == (WRONG if wrong else INVALID if verdict.complaints else PASSED)


def check_unread(result: Result) -> None:
    """What was measured until then is reported."""
    assert result.verdict.unread == "GET /v1/items was answered 500 internal"
    assert result.verdict.status == ERROR
    assert result.verdict.undecided == ["acked", "counts", "converged"]
    assert result.totals.all("ack").count > 0


def check_unanswered(totals: Totals) -> None:
    assert totals.errors() == 1 / totals.count("sent")
    assert totals.all("ack").count == totals.count("sent")
    longest = totals.all("ack").at(100)
    assert longest is not None
    assert longest >= LAST_TIMEOUT / 1e9 * 0.998
