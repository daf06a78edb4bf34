"""Whether the generator kept up, and which limits of the server were met."""

from tallycast_load.measure import violations
from tallycast_load.measure.violations import Violations
from tallycast_load.verdict import generator, server_limits
from tallycast_load.verdict.checks import Check, without_lateness


def test_a_late_generator_is_reported_with_what_to_change() -> None:
    assert generator.complaints(1000, 10, [0.5], 2, shared=True) == []
    (late,) = generator.complaints(1000, 11, [0.5], 2, shared=True)
    assert "1.10 % of the reactions were sent more than 10 ms after they were due" in late
    assert "a machine of its own (now both share 2 cores)" in late
    assert generator.complaints(26, 3, [0.5], 2, shared=True) == []
    assert generator.complaints(26, 4, [0.5], 2, shared=True)
    assert "with more cores" in generator.complaints(1000, 11, [0.5], 2, shared=False)[0]
    (busy,) = generator.complaints(1000, 0, [0.99], 4, shared=True)
    assert "raise --processes (now 1, this machine has 4 cores)" in busy
    assert "raise --processes" not in generator.complaints(1000, 0, [0.99], 1, shared=True)[0]


def test_limits_of_the_server_are_reported_with_what_to_change() -> None:
    assert server_limits.reactions({"unavailable": 3}, 5) == []
    (line,) = server_limits.reactions({"rate_limited": 3000}, 5)
    assert "refused 3,000 reactions (rate_limited)" in line
    assert "more --visitors (now 5)" in line
    assert (
        server_limits.connections({"connection refused": 3, "closed with code 4500 before it was ready": 1})
        == []
    )
    (line,) = server_limits.connections({violations.CUT: 18})
    assert "closed 18 connections" in line
    assert "open files" in line
    refused = (
        "the upgrade was refused: server rejected WebSocket connection: HTTP 429",
        "the upgrade was refused: server rejected WebSocket connection: HTTP 503",
        "GET /v1/stream was answered 429",
        "closed with code 4003 before it was ready",
        "rate_limited: too many",
    )
    (line,) = server_limits.connections(dict.fromkeys(refused, 2))
    assert "refused 10 connections" in line


def test_only_lateness_is_forgiven() -> None:
    checks = [
        Check(name, "", passed, "", [])
        for name, passed in (("acked", False), ("converged", False), ("answers", False), ("counts", True))
    ]
    late, twice = Violations(), Violations()
    late.add(violations.UNANSWERED, "x")
    twice.add(violations.ANSWERED_TWICE, "x")
    assert [check.passed for check in without_lateness(checks, late)] == [False, None, None, True]
    assert [check.passed for check in without_lateness(checks, twice)] == [False, None, False, True]
