"""The texts that all reports share: the plan, the outcome, and the names of the numbers.

Pure.
"""

from tallycast.domain.printable import printable

from tallycast_load.coordinator.run import Result
from tallycast_load.measure.violations import ABNORMAL
from tallycast_load.plan import units
from tallycast_load.plan.thresholds import DISTRIBUTIONS
from tallycast_load.verdict import server_limits

TITLES = {
    "ack": "reaction → ack",
    "update": "reaction → others",
    "connect": "connect",
}
assert TITLES.keys() == set(DISTRIBUTIONS)

EXPLAINED = {
    "ack": "from when a reaction was due until it was acknowledged",
    "update": "from when a reaction was due until another watcher had a frame with it, or a newer version",
    "connect": "from when a connection was due until it showed its items",
}


def describe_plan(result: Result) -> str:
    """The plan in one line."""
    plan = result.plan
    parts = [f"{plan.connections:,} connections"]
    watching = f" ({plan.watch} each)" if plan.watch > 1 else ""
    parts.append(f"{plan.items:,} item{'s' if plan.items > 1 else ''}{watching}, {plan.spread}")
    rate = f"{units.show_count(plan.reactions)} reactions/s"
    if plan.burst is not None:
        rate += f", bursts of {units.show_count(plan.burst.reactions)}/s"
    if plan.steps is not None:
        rate += f", × {plan.steps.factor:g} every {units.show_span(plan.steps.every)}"
    parts += [
        rate,
        f"{plan.visitor_count:,} visitor{'s' if plan.visitor_count > 1 else ''}",
        units.show_span(plan.duration),
    ]
    parts.append("event stream" if plan.transport == "sse" else f"WebSocket, {plan.protocol}")
    if plan.churn:
        parts.append(f"churn {units.show_count(plan.churn)}/s")
    if plan.slow:
        parts.append(f"{units.show_share(plan.slow)} slow readers")
    if plan.storms:
        parts.append(f"storm at {', '.join(units.show_span(storm) for storm in plan.storms)}")
    return " · ".join(parts)


def outcome(result: Result) -> str:
    """The outcome in a sentence."""
    verdict = result.verdict
    if verdict.interrupted:
        return (
            f"Partial: interrupted while {result.phase}, after {units.show_span(result.measured)} of "
            f"{units.show_span(result.plan.duration)}; nothing was checked."
        )
    failed = [check.name for check in verdict.checks if check.passed is False]
    if failed:
        return f"The server failed checks: {', '.join(failed)}."
    if verdict.unread:
        return f"The store could not be read at the end: {printable(verdict.unread)}."
    if verdict.complaints:
        return "The generator did not keep up: the numbers say nothing about the server."
    if verdict.undecided:
        return f"Not every check could be decided: {', '.join(verdict.undecided)}."
    if verdict.steps:
        best = verdict.best
        if best is None:
            return f"{units.show_count(verdict.steps[0].rate)} reactions/s, the first step, did not hold."
        last = verdict.steps[-1]
        reason = {True: "", False: "did not", None: "was more than the generator could send on time"}[
            last.passed
        ]
        last_step = f"; {units.show_count(last.rate)}/s {reason}" if reason else ""
        return f"{units.show_count(best.rate)} reactions/s held{last_step}."
    missed = [one.threshold.text for one in verdict.threshold_results if not one.holds]
    if missed:
        return f"Every check passed, but not {' and '.join(missed)}."
    held = ", and every threshold held" if verdict.threshold_results else ""
    return f"Every check passed{held}."


def counts(result: Result) -> list[tuple[str, str]]:
    """The counters: pairs of name and number."""
    totals = result.totals
    rows = [
        ("reactions sent", f"{totals.count('sent'):,}"),
        ("acknowledged", f"{totals.count('acked'):,}"),
    ]
    rows += [
        (f"refused: {printable(code)}", f"{number:,}")
        for code, number in totals.counted("refused").most_common()
    ]
    if totals.count("never sent"):
        rows.append(("due, but never sent", f"{totals.count('never sent'):,}"))
    if totals.count("cut off"):
        rows.append(("cut off by a lost connection", f"{totals.count('cut off'):,}"))
    rows.append(("updates received", f"{totals.count('updates'):,}"))
    if totals.count("reconnects"):
        rows.append(("reconnects", f"{totals.count('reconnects'):,}"))
    for code, number in totals.counted("closed").most_common():
        name = "lost without a close code" if code == ABNORMAL else f"closed by the server: {code}"
        rows.append((name, f"{number:,}"))
    rows += [
        (f"could not connect: {printable(reason)}", f"{n:,}")
        for reason, n in totals.counted("failures").most_common(5)
    ]
    if result.metrics is not None and result.metrics.missed:
        rows.append(("metrics: no answer", f"{result.metrics.missed:,}"))
    if totals.count("resets"):
        rows.append(("resets", f"{totals.count('resets'):,}"))
    return rows


def advice(result: Result) -> list[str]:
    """What to change for the next run."""
    refused, failures = result.totals.counted("refused"), result.totals.counted("failures")
    return [
        *result.verdict.complaints,
        *server_limits.reactions(refused, result.plan.visitor_count),
        *server_limits.connections(failures),
    ]


def sent_late(result: Result) -> tuple[int, int]:
    """How many reactions were due in the measured time, and how many of them were sent late."""
    return result.totals.late([stage.number for stage in result.plan.stages() if stage.number])


def generator(result: Result) -> list[tuple[str, str]]:
    """The load of the generator: pairs of name and value."""
    due, late = sent_late(result)
    cpu = " ".join(units.show_share(share) for share in result.cpu) or "–"
    memory = max((tick.memory for tick in result.totals.ticks.values()), default=0)
    return [
        ("processes", f"{result.processes}"),
        ("cpu of a core", cpu),
        ("memory", units.show_bytes(memory)),
        ("sent late", f"{units.show_share(late / due) if due else '0 %'} of {due:,}"),
    ]
