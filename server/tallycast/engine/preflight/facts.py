"""Reads the version, role and settings of one engine, or of one primary of a cluster.

Owns which commands are used for that: INFO first, because managed services forbid CONFIG; HELLO, which no
access list can forbid, where INFO may not be used. Does not depend on what the facts mean.
"""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from tallycast.engine.health import POLICY
from tallycast.engine.preflight.requirements import LOG, SYNC, Facts, product_and_version
from tallycast.engine.store import Primary


async def facts(primary: Primary) -> Facts:
    """Read the facts.

    Raises:
        RedisError, OSError: it does not answer.
    """
    try:
        info = _parse_info(await primary.execute_raw("INFO"))
    except ResponseError:
        return await _without_info(primary)
    product, version = product_and_version(info)
    return Facts(
        product=product,
        version=version,
        mode=info.get("redis_mode", info.get("server_mode", "")),
        is_replica=info.get("role") == "slave",
        primary=f"{info['master_host']}:{info['master_port']}" if "master_host" in info else "",
        settings=await _settings(primary, info),
    )


async def _without_info(primary: Primary) -> Facts:
    try:
        hello = _pairs(await primary.execute_raw("HELLO"))
    except ResponseError:
        hello = {}  # a proxy may not know it
    return Facts(
        product="Valkey" if hello.get("server") == "valkey" else "Redis",
        version=hello.get("version", ""),
        mode=hello.get("mode", ""),
        is_replica=hello.get("role") == "replica",
        primary="",
        settings=await _settings(primary, {}),
    )


async def _settings(primary: Primary, info: Mapping[str, str]) -> dict[str, str]:
    """The settings that INFO has, or else CONFIG."""
    known = {}
    if "maxmemory_policy" in info:
        known[POLICY] = info["maxmemory_policy"]
    if "aof_enabled" in info:
        known[LOG] = "yes" if info["aof_enabled"] == "1" else "no"
    for name in (POLICY, LOG, SYNC):
        if name not in known and not (name == SYNC and known.get(LOG) == "no"):
            try:
                known |= _pairs(await primary.execute_raw("CONFIG", "GET", name))
            except ResponseError:
                pass  # forbidden, or renamed
    return known


def _parse_info(info: bytes | Mapping[str, Any]) -> dict[str, str]:
    """The reply to INFO, which redis-py's client has parsed already."""
    if isinstance(info, bytes):
        lines = info.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: str(value) for name, value in info.items()}


def _pairs(flat: Any) -> dict[str, str]:
    """Alternating names and values. A proxy in front of an engine may reply with something else."""
    if not isinstance(flat, list):
        return {}
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=False))
