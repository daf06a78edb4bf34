"""Tallycast: a self-hosted server for live reaction counts.

The layers, from the top: ``cli`` and ``supervisor`` start processes, ``app`` joins the parts of one
worker, ``web`` speaks with clients, ``guard``, ``hub`` and ``ledger`` each keep one promise,
``rules`` and ``protocol`` are pure. Imports point down only; import-linter holds that.
"""

__version__: str


def __getattr__(name: str) -> str:
    """Look ``__version__`` up when it is asked for: every command imports this first, few need to know."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tallycast")
    raise AttributeError(name)
