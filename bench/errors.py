"""What can go wrong in a measurement.

BenchError
├── Unavailable    a contender cannot run on this machine
└── Wrong          a contender did not do what it was measured for: its figures would mean nothing
"""


class BenchError(Exception):
    """The root of all."""


class Unavailable(BenchError):  # noqa: N818  nothing went wrong, it is not there
    """A contender cannot run on this machine; the text says why."""


class Wrong(BenchError):  # noqa: N818  said of the contender, not of the bench
    """A contender lost, doubled or changed messages, or took too long; the text says what."""
