"""Whether the engine is set up to keep what it has confirmed, and its user has all rights that are needed.

Owns when its settings and rights are checked: at the start, and periodically, because they can be changed
while it runs, and a failover brings another engine with settings and users of its own. Does not depend on how
they are read.
"""

import asyncio

import structlog

from tallycast.engine.failover import FAILURES
from tallycast.engine.health import EngineHealth, Risk
from tallycast.engine.preflight import facts as preflight
from tallycast.engine.preflight import rights
from tallycast.engine.preflight.requirements import risks, unknown
from tallycast.engine.store import Admin, EngineError

SETTINGS_INTERVAL = 5.0
# A trial of all rights is some 70 refusals in the engine's statistics: seconds between two trials while the
# rights are complete, while some are missing, and after something else was refused for want of one.
RIGHTS_INTERVAL, MISSING_INTERVAL, DOUBT_INTERVAL = 60.0, 5.0, 1.0

_log = structlog.get_logger("engine")


async def check(store: Admin, *, strict: bool = True) -> None:
    """Check the settings once, before anything is served.

    Raises:
        EngineError: the engine does not answer, or, where ``strict``, would delete votes with these settings.
    """
    try:
        found, unchecked = await _read_risks(store)
    except FAILURES as error:
        raise EngineError(f"the engine does not answer: {error}") from None
    for risk in found:
        if strict and risk.level == "error":
            raise EngineError(f"{risk.node}: {risk.reason}" if risk.node else risk.reason)
    if unchecked:
        _log.warning(
            "engine settings not checked",
            reason="its user may run neither INFO nor CONFIG GET, or not both",
            settings=sorted(unchecked),
            safe="maxmemory-policy noeviction, appendonly yes, appendfsync always",
        )
    store.health.set_risks(found)


async def run_settings_checks(store: Admin) -> None:
    """Keep ``store.health.risks`` up to date, until cancelled."""
    while True:
        await asyncio.sleep(SETTINGS_INTERVAL)
        try:
            found, unchecked = await _read_risks(store)
        except FAILURES:
            continue  # the probe reports that the engine does not answer
        kept = {risk for risk in store.health.risks if risk.setting in unchecked}
        store.health.set_risks(found | kept)


async def missing_rights(store: Admin) -> str:
    """Try all commands that are ever used, with their keys and channels, and without any effect.

    Returns which of them a primary refuses, in words, or an empty text.

    Raises:
        RedisError, OSError: one does not answer, or is loading its data.
    """
    for primary in store.primaries():
        refused = await rights.refused(
            primary.connection(), store.namespace, sharded=primary.sharded, replicas=store.replicas
        )
        if refused:
            at = f"{primary.address}: " if primary.address else ""
            return at + rights.describe(refused)
    return ""


async def run_rights_checks(store: Admin) -> None:
    """Keep ``store.health.missing_rights`` up to date, until cancelled."""
    health = store.health
    while True:
        await _rest(health)
        health.forbidden = False
        try:
            health.set_missing_rights(await missing_rights(store))
        except FAILURES:
            continue  # the probe reports that the engine does not answer


async def _rest(health: EngineHealth) -> None:
    if health.missing_rights:
        await asyncio.sleep(MISSING_INTERVAL)
        return
    for _ in range(round(RIGHTS_INTERVAL / DOUBT_INTERVAL)):
        await asyncio.sleep(DOUBT_INTERVAL)
        if health.forbidden:
            return


async def _read_risks(store: Admin) -> tuple[set[Risk], set[str]]:
    """The risks on every primary, and the settings that could not be read of one.

    Raises:
        RedisError, OSError: one does not answer.
    """
    found: set[Risk] = set()
    unchecked: set[str] = set()
    for primary in store.primaries():
        settings = (await preflight.facts(primary)).settings
        found |= {risk._replace(node=primary.address) for risk in risks(settings, store.replicas)}
        unchecked |= set(unknown(settings))
    return found, unchecked
