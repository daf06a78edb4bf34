"""The observer of a run: which its progress is reported to.

Owns the interface alone. Does not depend on how progress is shown.
"""

from typing import Protocol

from tallycast_load.verdict.totals import Moment, Totals
from tallycast_load.verdict.verdict import Step


class RunObserver(Protocol):
    """Callbacks of a run."""

    def phase(self, name: str, seconds: float | None) -> None:
        """A phase begins; it takes about so many seconds."""

    def progress(self, done: float, whole: float) -> None:
        """Part of the phase is done."""

    def moment(self, moment: Moment, totals: Totals) -> None:
        """A second of the run is over."""

    def step(self, step: Step) -> None:
        """A step of the rate is over."""

    def close(self) -> None:
        """The run is over."""
