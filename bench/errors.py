"""Errors of a measurement.

BenchError
├── UnavailableError           a contender cannot run on this machine
└── InvalidMeasurementError    a contender did not do what was measured
"""


class BenchError(Exception):
    """Base class of all errors of the bench."""


class UnavailableError(BenchError):
    """A contender cannot run on this machine; the text says why."""


class InvalidMeasurementError(BenchError):
    """A contender lost, duplicated or changed messages, or took too long; the text says what."""
