"""The words of the reports."""

from msgspec import structs
from tallycast_load.coordinator.run import Result
from tallycast_load.plan.plan import make
from tallycast_load.report import data, summary

from tests.load.verdict.test_checks import tick


def test_what_left_late_while_warming_up_is_not_reported() -> None:
    """A run is INVALID for what it measured: the share beside that is the same one."""
    result = Result(make({}, None, private=True), "http://127.0.0.1:9", 1, 0.0)
    result.totals.add(0, structs.replace(tick({}), late={0: (100, 50), 1: (200, 2)}))
    assert dict(summary.generator(result))["sent late"] == "1.00 % of 200"
    assert data.as_data(result)["generator"]["late"] == [200, 2]
