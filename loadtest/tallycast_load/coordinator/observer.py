"""The observer of a run: what its progress is reported to.

Owns the interface alone. Does not depend on how progress is shown.
"""

from typing import Protocol

from tallycast_load.verdict.totals import Moment, Totals
from tallycast_load.verdict.verdict import Step


class RunObserver(Protocol):
    """What is called as a run proceeds."""

    def phase(self, name: str, seconds: float | None) -> None:
        """A phase begins; it takes about so long."""

    def progress(self, done: float, whole: float) -> None:
        """So much of the phase is done."""

    def moment(self, moment: Moment, totals: Totals) -> None:
        """A second has passed."""

    def step(self, step: Step) -> None:
        """A step of a ladder is over."""

    def close(self) -> None:
        """It is over."""
