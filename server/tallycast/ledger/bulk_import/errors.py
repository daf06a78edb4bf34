"""The error of an import.

Does not depend on what is imported.
"""

from tallycast.contract.errors import TallycastError


class ImportFailed(TallycastError):  # noqa: N818  ImportError is taken
    """A file cannot be imported, or not completely. ``str(error)`` is one line for the operator."""
