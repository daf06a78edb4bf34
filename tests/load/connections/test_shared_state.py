"""What the connections of one process share."""

from tallycast_load.measure import violations
from tallycast_load.measure.updates import Seen
from tallycast_load.measure.violations import Faults

from tests.load.support import room


def test_two_connections_that_are_told_different_counts_of_one_version() -> None:
    found = Faults()
    shared = room(found, ["a", "b"])
    for item, version, likes in ((0, 10, 1), (1, 10, 2), (0, 10, 1), (0, 9, 3)):
        shared.learn(b"%d %d" % (version, likes), Seen(item, version, {"like": likes}, False, 0))
    assert found.count(violations.TWO_COUNTS) == 0
    shared.learn(b"other", Seen(0, 10, {"like": 5}, False, 0))
    assert found.count(violations.TWO_COUNTS) == 1
