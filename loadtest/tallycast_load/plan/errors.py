"""The error of a load test.

Does not depend on what is tested.
"""

from tallycast.contract.errors import TallycastError


class LoadError(TallycastError):
    """A load test cannot be run. ``str(error)`` is one line for the operator."""
