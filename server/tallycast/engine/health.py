"""How the engine does: what the log and the metrics say of it.

Owns the words, and that they are not said again and again; and which items' counts were seen to be wrong, for
the auditor. Must not know how the engine is reached.
"""

import time
from collections.abc import Iterable

import structlog

from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.engine.preflight.requirements import POLICY, Risk
from tallycast.engine.preflight.rights import is_refusal
from tallycast.observability.measures import SHORT_TIMES, Histogram

RETRY_AFTER = 2.0
COMPLAIN_EVERY = 10.0
# While it loads its data an engine answers some commands: it is only back when this (s) has passed.
SETTLED = 1.0
# Items that wait for an audit of their own; there is a round for the others.
SUSPECTS = 1000

_log = structlog.get_logger("engine")


class EngineHealth:
    """The condition of one engine, or of a cluster as a whole."""

    def __init__(self) -> None:
        self.round_trips = Histogram(SHORT_TIMES)
        self.failures = 0
        # Whether the engine takes what is written, as far as was tried; and whether it is to be tried soon.
        self.writable = True
        self.doubted = False
        # Reactions that were taken back where none was counted, and the keys of the items.
        self.drifts = 0
        self.suspects: set[bytes] = set()
        # Settings of the engine with which acknowledged reactions can be lost.
        self.risks: set[Risk] = set()
        # What the engine's user may not do and must, in words; and whether something was refused since the
        # last look.
        self.missing_rights = ""
        self.forbidden = False
        self._down = False
        self._announced = False
        self._complained = -COMPLAIN_EVERY

    def answered(self, began: float) -> None:
        """A reply came to what was sent then (monotonic clock)."""
        now = time.monotonic()
        self.round_trips.add(now - began)
        self._down = False
        if self._announced and now - self._complained >= SETTLED:
            self._announced = False
            _log.info("engine available again")

    def lost(self, reason: str) -> OutcomeUnknown:
        """No reply came: what is to be raised."""
        self._is_down(reason)
        return OutcomeUnknown("the engine did not confirm in time", retry_after=RETRY_AFTER)

    def away(self, reason: str) -> Unavailable:
        """There is nobody to send it to: what is to be raised."""
        self._is_down(reason)
        return Unavailable("the engine is away", retry_after=RETRY_AFTER)

    def _is_down(self, reason: str) -> None:
        self.failures += 1
        self.doubted = True
        if not self._down and time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._announced = True
            self._complained = time.monotonic()
            _log.warning("engine unavailable", error=reason)
        self._down = True

    def refused(self, reason: str) -> Unavailable:
        """It answers, but refuses (no memory, read-only, not our script): what is to be raised."""
        self.failures += 1
        self.doubted = True
        self.forbidden = self.forbidden or is_refusal(reason)
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._complained = time.monotonic()
            _log.error("engine refuses", error=reason)
        return Unavailable("the engine refuses", retry_after=RETRY_AFTER)

    def drifted(self, names: Iterable[bytes | str]) -> None:
        """Scripts came upon items whose counts cannot be those of their members."""
        for name in names:
            self.drifts += 1
            if len(self.suspects) < SUSPECTS:
                self.suspects.add(name if isinstance(name, bytes) else name.encode())

    @property
    def evicting(self) -> bool:
        """Whether an engine deletes votes when its memory is full."""
        return any(risk.setting == POLICY for risk in self.risks)

    @property
    def unsafe(self) -> list[str]:
        """The settings that need to be corrected."""
        return sorted({risk.setting for risk in self.risks if risk.level != "info"})

    def exposed(self, risks: set[Risk]) -> None:
        """Learn the settings with which acknowledged reactions can be lost, all of them."""
        for risk in sorted(risks - self.risks):
            tell = getattr(_log, risk.level)
            tell(
                "engine setting can lose acknowledged reactions",
                setting=risk.setting,
                reason=risk.reason,
                **_of(risk),
            )
        still = {(risk.setting, risk.node) for risk in risks}
        for risk in sorted(self.risks - risks):
            if (risk.setting, risk.node) not in still:
                _log.info("engine setting corrected", setting=risk.setting, **_of(risk))
        self.risks = risks

    def lacks(self, rights: str) -> None:
        """Learn which rights are missing, in words; an empty text: none."""
        if rights and rights != self.missing_rights:
            _log.error("engine rights missing", reason=rights)
        elif self.missing_rights and not rights:
            _log.info("engine rights complete again")
        self.missing_rights = rights

    def wrote(self, done: bool) -> None:
        """Whether the engine has just taken what was written."""
        if done and not self.writable:
            _log.info("the engine takes writes again")
        self.writable = done


def _of(risk: Risk) -> dict[str, str]:
    return {"node": risk.node} if risk.node else {}
