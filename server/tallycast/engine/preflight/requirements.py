"""What an engine must be, and which of its settings put acknowledged reactions at risk.

Owns the rules and their messages. Pure: does not depend on how the facts are read.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tallycast.engine.health import POLICY, Risk

OLDEST = {"Redis": 7, "Valkey": 8}
LOG, SYNC = "appendonly", "appendfsync"
# The settings that are judged.
SETTINGS = (POLICY, LOG, SYNC)


class Facts(NamedTuple):
    """What an engine reports of itself; an empty text where it does not.

    ``mode`` is standalone, cluster or sentinel, ``primary`` the address that a replica replicates from.
    ``settings`` has those of ``SETTINGS`` that are known.
    """

    product: str
    version: str
    mode: str
    is_replica: bool
    primary: str
    settings: Mapping[str, str]


def product_and_version(info: Mapping[str, Any]) -> tuple[str, str]:
    """What a reply to INFO says; an empty version where it says none."""
    # Valkey also names the version of Redis that it is compatible with.
    product = "Valkey" if "valkey_version" in info else "Redis"
    return product, str(info.get(f"{product.lower()}_version", ""))


def too_old(product: str, version: str) -> bool:
    """Whether scripts with flags do not run there, or are not tested there."""
    major = re.match(r"\d+", version)
    return major is not None and int(major[0]) < OLDEST[product]


def unusable(facts: Facts, *, in_cluster: bool) -> str | None:
    """Why an engine cannot be used at all, and what to do; ``None`` if it can."""
    if facts.mode == "sentinel":
        return "the engine is a Sentinel: name the primary that it watches in REDIS_URL"
    if facts.mode == "cluster" and not in_cluster:
        return "the engine is a node of a cluster: add cluster=true to REDIS_URL"
    if too_old(facts.product, facts.version):
        return (
            f"{facts.product} {facts.version} is too old: Redis 7.0, or Valkey 8, or newer is needed; "
            "upgrade it, or unset REDIS_URL to use the embedded engine"
        )
    return None


def demoted(facts: Facts) -> str | None:
    """What to do where the engine is a replica, else ``None``. In a failover that may change by itself."""
    if not facts.is_replica:
        return None
    of = f" of {facts.primary}" if facts.primary else ""
    return (
        f"it is a replica{of} and takes no writes: name the primary in REDIS_URL, best by a host name that "
        "follows a failover"
    )


def risks(settings: Mapping[str, str], replicas: int) -> list[Risk]:
    """The settings that put acknowledged reactions at risk.

    ``replicas`` is how many must confirm a write.
    """
    found = []
    if settings.get(POLICY, "noeviction") != "noeviction":
        found.append(Risk(POLICY, "error", _eviction(settings[POLICY])))
    if settings.get(LOG) == "no":
        found.append(Risk(LOG, "warning", _no_log(replicas)))
    elif settings.get(SYNC) == "no":
        found.append(Risk(SYNC, "warning", _SYNC_NO))
    elif settings.get(SYNC) == "everysec":
        found.append(Risk(SYNC, "info", _SYNC_EVERYSEC))
    return found


def unknown(settings: Mapping[str, str]) -> list[str]:
    """The settings that matter and are not known."""
    needless = {SYNC} if settings.get(LOG) == "no" else set()
    return [name for name in SETTINGS if name not in settings.keys() | needless]


def _eviction(policy: str) -> str:
    return (
        f"maxmemory-policy is {policy}: when its memory is full the engine deletes votes; set it to "
        "noeviction (CONFIG SET maxmemory-policy noeviction, and in the engine's configuration)"
    )


def _no_log(replicas: int) -> str:
    lost = "when the engine ends without a shutdown, all reactions since its last snapshot are lost"
    if replicas:
        lost += (
            ", unless a replica that confirmed them is promoted first: one that restarts empty empties its "
            "replicas, too"
        )
    return f"appendonly is no: {lost}; without snapshots all there are; set it to yes"


_SYNC_NO = (
    "appendfsync is no: a power cut or a crash of the machine loses the reactions of the last half minute or "
    "so, acknowledged ones, too; set it to always, or to everysec"
)
_SYNC_EVERYSEC = (
    "appendfsync is everysec: a power cut or a crash of the machine loses the reactions of the last second "
    "or two, acknowledged ones, too; always loses none"
)
