"""What the connections of one process share."""

from tallycast_load.measure import violations
from tallycast_load.measure.updates import Update
from tallycast_load.measure.violations import Violations

from tests.load.support import make_context


def test_two_connections_that_receive_different_counts_of_one_version() -> None:
    found = Violations()
    shared = make_context(found, ["a", "b"])
    for item, version, likes in ((0, 10, 1), (1, 10, 2), (0, 10, 1), (0, 9, 3)):
        shared.add_update(b"%d %d" % (version, likes), Update(item, version, {"like": likes}, False, 0))
    assert found.count(violations.TWO_COUNTS) == 0
    shared.add_update(b"other", Update(0, 10, {"like": 5}, False, 0))
    assert found.count(violations.TWO_COUNTS) == 1
