"""The health of the engine, for the log, the metrics and the readiness of a worker.

Owns the log lines, and that they are not repeated all the time; and which items' counts were found to be
wrong, for the auditor. Does not depend on how the engine is reached.
"""

import re
import time
from collections.abc import Iterable
from typing import Literal, NamedTuple

import structlog

from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.observability.measures import SHORT_TIMES, Histogram

RETRY_AFTER = 2.0
# The least time (s) between two log lines about failures.
LOG_INTERVAL = 10.0
# While it loads its data an engine answers some commands: it is back only when this (s) has passed.
SETTLE_TIME = 1.0
# Items that await an audit of their own; the others await the audit of all items.
MAX_SUSPECTS = 1000

# The setting with which an engine deletes reactions when its memory is full.
POLICY = "maxmemory-policy"
# A right is missing; Redis 7.0 has another wording within scripts.
_RIGHT_MISSING = re.compile(
    r"\bno permissions\b|\bACL failure\b|\buser executing the script can't\b", re.IGNORECASE
)

_log = structlog.get_logger("engine")


class Risk(NamedTuple):
    """A setting of an engine with which acknowledged reactions can be lost.

    ``node`` is its address in a cluster. With an ``error`` a server does not start.
    """

    setting: str
    level: Literal["error", "warning", "info"]
    reason: str
    node: str = ""


class EngineHealth:
    """The health of one engine, or of a cluster as a whole."""

    def __init__(self) -> None:
        self.round_trips = Histogram(SHORT_TIMES)
        self.failures = 0
        # Whether the engine accepts writes, as of the last try; and whether it is to be tried soon.
        self.writable = True
        self.recheck_due = False
        # Removed reactions that were not in the counts, and the keys of their items.
        self.drifts = 0
        self.suspects: set[bytes] = set()
        # Settings of the engine with which acknowledged reactions can be lost.
        self.risks: set[Risk] = set()
        # The missing rights of the engine's user, in words; and whether something was refused because
        # one is missing, since the last trial.
        self.missing_rights = ""
        self.forbidden = False
        self._down = False
        self._announced = False
        self._logged_at = -LOG_INTERVAL

    def answered(self, began: float) -> None:
        """A reply came to what was sent at ``began`` (s, monotonic clock)."""
        now = time.monotonic()
        self.round_trips.add(now - began)
        self._down = False
        if self._announced and now - self._logged_at >= SETTLE_TIME:
            self._announced = False
            _log.info("engine available again")

    def lost(self, reason: str) -> OutcomeUnknown:
        """No reply came. Returns the error to be raised."""
        self._is_down(reason)
        return OutcomeUnknown("the engine did not confirm in time", retry_after=RETRY_AFTER)

    def unreachable(self, reason: str) -> Unavailable:
        """Nothing could be sent. Returns the error to be raised."""
        self._is_down(reason)
        return Unavailable("the engine is away", retry_after=RETRY_AFTER)

    def _is_down(self, reason: str) -> None:
        self.failures += 1
        self.recheck_due = True
        if not self._down and time.monotonic() - self._logged_at >= LOG_INTERVAL:
            self._announced = True
            self._logged_at = time.monotonic()
            _log.warning("engine unavailable", error=reason)
        self._down = True

    def refused(self, reason: str) -> Unavailable:
        """It replied with an error (no memory, read-only). Returns the error to be raised."""
        self.failures += 1
        self.recheck_due = True
        self.forbidden = self.forbidden or _RIGHT_MISSING.search(reason) is not None
        if time.monotonic() - self._logged_at >= LOG_INTERVAL:
            self._logged_at = time.monotonic()
            _log.error("engine refused a command", error=reason)
        return Unavailable("the engine refuses", retry_after=RETRY_AFTER)

    def drifted(self, keys: Iterable[bytes | str]) -> None:
        """Scripts found items whose counts cannot be those of their members; ``keys`` are the items'."""
        for key in keys:
            self.drifts += 1
            if len(self.suspects) < MAX_SUSPECTS:
                self.suspects.add(key if isinstance(key, bytes) else key.encode())

    @property
    def evicting(self) -> bool:
        """Whether an engine deletes reactions when its memory is full."""
        return any(risk.setting == POLICY for risk in self.risks)

    @property
    def unsafe(self) -> list[str]:
        """The names of the settings that must be corrected."""
        return sorted({risk.setting for risk in self.risks if risk.level != "info"})

    def set_risks(self, risks: set[Risk]) -> None:
        """Note all settings with which acknowledged reactions can be lost; log what is new or corrected."""
        for risk in sorted(risks - self.risks):
            log = getattr(_log, risk.level)
            log(
                "engine setting can lose acknowledged reactions",
                setting=risk.setting,
                reason=risk.reason,
                **_node(risk),
            )
        still = {(risk.setting, risk.node) for risk in risks}
        for risk in sorted(self.risks - risks):
            if (risk.setting, risk.node) not in still:
                _log.info("engine setting corrected", setting=risk.setting, **_node(risk))
        self.risks = risks

    def set_missing_rights(self, rights: str) -> None:
        """Note the missing rights, in words; an empty text where there are none."""
        if rights and rights != self.missing_rights:
            _log.error("engine rights missing", reason=rights)
        elif self.missing_rights and not rights:
            _log.info("engine rights complete again")
        self.missing_rights = rights

    def record_write(self, accepted: bool) -> None:
        """Note whether the engine accepted a write just now."""
        if accepted and not self.writable:
            _log.info("engine writable again")
        self.writable = accepted


def _node(risk: Risk) -> dict[str, str]:
    return {"node": risk.node} if risk.node else {}
