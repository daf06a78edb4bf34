"""Tallycast: a self-hosted server for live reaction counts.

Owns the version. The packages, from the top: ``cli`` is the command, ``process`` its processes, ``app``
builds a worker; ``api``, ``transport`` and ``session`` serve clients by ``services``; ``fanout`` delivers
updates, ``access`` checks tokens and limits, ``ledger`` stores reactions in the ``engine``; ``domain``,
``signals`` and ``contract`` are pure. Imports point down only; import-linter enforces it.
"""

__version__: str


def __getattr__(name: str) -> str:
    """Look up ``__version__`` on first use: every command imports this module, few need the version."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tallycast")
    raise AttributeError(name)
