"""Tallycast: a self-hosted server for live reaction counts.

The layers, from the top: ``cli`` and ``supervisor`` start processes, ``app`` joins the parts of one
worker, ``web`` speaks with clients, ``guard``, ``hub`` and ``ledger`` each keep one promise,
``rules`` and ``protocol`` are pure. Imports point down only; import-linter holds that.
"""

from importlib.metadata import version

__version__ = version("tallycast")
