"""The checks after a run: what must be true by the contract, and whether it is.

Pure. Compares what the processes received with what the store holds. Each check has a stable name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tallycast_load.client.items import StoredItem
from tallycast_load.measure import violations
from tallycast_load.measure.violations import Violations
from tallycast_load.processes.ipc import Audited, Shown

EXAMPLES = 3
ANSWERS = (
    violations.UNANSWERED,
    violations.ANSWERED_TWICE,
    violations.WRONG_ANSWER,
    violations.UNREADABLE,
    violations.NOT_WATCHED,
)


class Check(NamedTuple):
    """One promise of the contract. ``passed`` is None where it could not be judged."""

    name: str
    promise: str
    passed: bool | None
    found: str
    details: list[str]


class Evidence(NamedTuple):
    """What is known at the end. ``store`` has the order of ``items``; ``kinds`` are the site's reactions."""

    items: Sequence[str]
    kinds: Sequence[str]
    store: Sequence[StoredItem]
    audited: Sequence[Audited]
    shown: Sequence[Shown]
    violations: Violations
    closed: Mapping[int, int]
    answered: int


def judge(evidence: Evidence) -> list[Check]:
    """All checks, in the order of the reports."""
    return [
        _durable(evidence),
        _counts(evidence),
        _converged(evidence),
        _versions(evidence),
        _closes(evidence),
        _answers(evidence),
    ]


def without_lateness(checks: list[Check], found: Violations) -> list[Check]:
    """The checks when the generator did not keep up: lateness is not held against the server."""
    only_late = not any(found.count(violation) for violation in ANSWERS if violation != violations.UNANSWERED)
    return [
        check._replace(passed=None, found=f"{check.found}; the generator did not keep up")
        if check.passed is False and (check.name == "converged" or (check.name == "answers" and only_late))
        else check
        for check in checks
    ]


def without_store(checks: list[Check]) -> list[Check]:
    """The checks when the store could not be read: those that need it are not judged."""
    return [
        check._replace(passed=None, found="the store could not be read", details=[])
        if check.name in ("acked", "counts", "converged")
        else check
        for check in checks
    ]


def _durable(evidence: Evidence) -> Check:
    compared = sum(audited.compared for audited in evidence.audited)
    lost = sum(audited.lost for audited in evidence.audited)
    examples = [example for audited in evidence.audited for example in audited.examples]
    found = f"{compared:,} states of visitors compared" + (f", {lost:,} not as acknowledged" if lost else "")
    return Check("acked", "every acknowledged reaction is in the store", not lost, found, examples[:EXAMPLES])


def _counts(evidence: Evidence) -> Check:
    tally: dict[int, Counter[str]] = {}
    for audited in evidence.audited:
        for item, counted in audited.tally.items():
            tally.setdefault(item, Counter()).update(counted)
    wrong = []
    for item, stored in enumerate(evidence.store):
        counted = tally.get(item, Counter())
        expected = {kind: counted[kind] for kind in {*evidence.kinds, *counted}}
        if dict(stored.counts) != expected:
            wrong.append(f"{stored.item}: {stored.counts} stored, the visitors hold {expected}")
    number = len(evidence.store)
    found = f"{number:,} item{'s' if number != 1 else ''} compared" + (
        f", {len(wrong):,} wrong" if wrong else ""
    )
    return Check("counts", "counts equal the visitors' last states", not wrong, found, wrong[:EXAMPLES])


def _converged(evidence: Evidence) -> Check:
    views = behind = 0
    details = []
    for item, stored in enumerate(evidence.store):
        for shown in evidence.shown:
            for version, number in shown.versions.get(item, {}).items():
                views += number
                if version != stored.version:
                    behind += number
                    state = f"version {version}" if version >= 0 else "nothing"
                    details.append(f"{stored.item}: {number:,} show {state}, the store has {stored.version}")
            version, counts = shown.counts.get(item, (-1, {}))
            if version == stored.version and counts != stored.counts:
                behind += 1
                details.append(f"{stored.item}: {counts} shown at {version}, {stored.counts} stored")
    found = f"{views:,} views compared" + (f", {behind:,} behind" if behind else "")
    promise = "every watcher shows the store one second after the last write"
    if not views and evidence.store:
        return Check("converged", promise, None, "no watcher was connected at the end", [])
    return Check("converged", promise, not behind, found, details[:EXAMPLES])


def _versions(evidence: Evidence) -> Check:
    names = (violations.WENT_DOWN, violations.REPEATED, violations.TWO_COUNTS)
    return _by_violations(
        "versions", "no watcher saw a version go down or come twice", evidence, names, "none did"
    )


def _closes(evidence: Evidence) -> Check:
    coded = sum(number for code, number in evidence.closed.items() if code != violations.ABNORMAL)
    if_none = f"{coded:,} closed by the server, all with a code" if coded else "none was lost"
    promise = "no connection was lost without a close code"
    return _by_violations("closes", promise, evidence, (violations.LOST,), if_none)


def _answers(evidence: Evidence) -> Check:
    promise = "every reaction got one answer, and every message was one of the contract"
    return _by_violations("answers", promise, evidence, ANSWERS, f"{evidence.answered:,} answered")


def _by_violations(
    name: str, promise: str, evidence: Evidence, names: tuple[str, ...], if_none: str
) -> Check:
    number = sum(evidence.violations.count(violation) for violation in names)
    found = f"{number:,} time{'s' if number != 1 else ''}" if number else if_none
    return Check(name, promise, not number, found, evidence.violations.describe(*names))
