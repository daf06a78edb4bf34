"""Whether the engine is set up to keep what it has confirmed, and its user may do all that is needed.

Owns when its settings and rights are looked at: at the start, and now and then, because they can be changed
while it runs, and a failover brings another engine with settings and users of its own. Does not depend on how
they are read.
"""

import asyncio

import structlog

from tallycast.contract.errors import EngineError
from tallycast.engine.health import EngineHealth
from tallycast.engine.preflight import facts as preflight
from tallycast.engine.preflight.requirements import Risk, risks, unknown
from tallycast.engine.store import FAILURES, Store, missing_rights

EVERY = 5.0
# A trial of all rights is some 70 refusals in the engine's statistics: seconds between two while they are
# complete, while some are missing, and after something else was refused for want of one.
RIGHTS_EVERY, RIGHTS_MISSING, RIGHTS_DOUBTED = 60.0, 5.0, 1.0

_log = structlog.get_logger("engine")


async def check(engine: Store, *, strict: bool = True) -> None:
    """Look at the settings once, before anything is served.

    Raises:
        EngineError: the engine does not answer, or, where ``strict``, would delete votes with these settings.
    """
    try:
        found, unchecked = await _look(engine)
    except FAILURES as error:
        raise EngineError(f"the engine does not answer: {error}") from None
    for risk in found:
        if strict and risk.level == "error":
            raise EngineError(f"{risk.node}: {risk.reason}" if risk.node else risk.reason)
    if unchecked:
        _log.warning(
            "engine settings not checked: its user may run neither INFO nor CONFIG GET, or not both",
            settings=sorted(unchecked),
            safe="maxmemory-policy noeviction, appendonly yes, appendfsync always",
        )
    engine.health.exposed(found)


async def follow(engine: Store) -> None:
    """Keep ``engine.condition.risks`` true to the facts, until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            found, unchecked = await _look(engine)
        except FAILURES:
            continue  # It is away, which others notice and tell.
        kept = {risk for risk in engine.health.risks if risk.setting in unchecked}
        engine.health.exposed(found | kept)


async def follow_rights(engine: Store) -> None:
    """Keep ``engine.condition.missing_rights`` true to the facts, until cancelled."""
    health = engine.health
    while True:
        await _rest(health)
        health.forbidden = False
        try:
            health.lacks(await missing_rights(engine))
        except FAILURES:
            continue  # It is away, which others notice and tell.


async def _rest(health: EngineHealth) -> None:
    if health.missing_rights:
        await asyncio.sleep(RIGHTS_MISSING)
        return
    for _ in range(round(RIGHTS_EVERY / RIGHTS_DOUBTED)):
        await asyncio.sleep(RIGHTS_DOUBTED)
        if health.forbidden:
            return


async def _look(engine: Store) -> tuple[set[Risk], set[str]]:
    """The risks on every primary, and the settings that are not known of one.

    Raises:
        RedisError, OSError: one does not answer.
    """
    found: set[Risk] = set()
    unchecked: set[str] = set()
    for primary in engine.primaries():
        settings = (await preflight.facts(primary)).settings
        found |= {risk._replace(node=primary.address) for risk in risks(settings, engine.replicas)}
        unchecked |= set(unknown(settings))
    return found, unchecked
