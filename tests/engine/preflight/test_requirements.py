"""What an engine must be: the rules, without an engine."""

import pytest
from tallycast.engine.preflight.requirements import Facts, demoted, risks, too_old, unknown, unusable

RIGHT = Facts("Valkey", "9.1.2", "standalone", is_replica=False, primary="", settings={})
SAFE = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}


@pytest.mark.parametrize(
    ("product", "version", "old"),
    [
        ("Redis", "6.2.14", True),
        ("Redis", "7.0.0", False),
        ("Redis", "10.0.1", False),
        ("Valkey", "7.2.5", True),
        ("Valkey", "8.0.0", False),
        ("Redis", "", False),
        ("Redis", "unstable", False),
    ],
)
def test_the_oldest_versions(product: str, version: str, old: bool) -> None:
    assert too_old(product, version) is old
    answer = unusable(RIGHT._replace(product=product, version=version), in_cluster=False)
    assert (answer is not None) is old
    assert not old or f"{product} {version} is too old: Redis 7.0, or Valkey 8" in str(answer)


def test_an_engine_that_is_right() -> None:
    assert unusable(RIGHT, in_cluster=False) is None
    assert unusable(RIGHT._replace(mode="cluster"), in_cluster=True) is None
    assert risks(SAFE, 0) == []
    assert unknown(SAFE) == []


def test_one_of_another_kind_ends_with_what_to_do() -> None:
    replica = RIGHT._replace(is_replica=True, primary="10.0.0.5:6379")
    answer = demoted(replica)
    assert "a replica of 10.0.0.5:6379" in str(answer)
    assert "name the primary in REDIS_URL" in str(answer)
    assert demoted(RIGHT) is None
    assert unusable(replica, in_cluster=False) is None
    assert "cluster=true" in str(unusable(RIGHT._replace(mode="cluster"), in_cluster=False))
    assert "Sentinel" in str(unusable(RIGHT._replace(mode="sentinel"), in_cluster=False))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
def test_every_policy_that_evicts_is_an_error(policy: str) -> None:
    (risk,) = risks({**SAFE, "maxmemory-policy": policy}, 0)
    assert (risk.setting, risk.level) == ("maxmemory-policy", "error")
    assert risk.reason.startswith(f"maxmemory-policy is {policy}:")
    assert "set it to noeviction" in risk.reason


def test_what_is_not_synced_is_reported_with_what_can_be_lost() -> None:
    (log,) = risks({**SAFE, "appendonly": "no"}, 0)
    assert (log.setting, log.level) == ("appendonly", "warning")
    assert "all reactions since its last snapshot are lost" in log.reason
    assert "promoted" not in log.reason
    (log,) = risks({**SAFE, "appendonly": "no"}, 1)
    assert "unless a replica that confirmed them is promoted first" in log.reason
    (sync,) = risks({**SAFE, "appendfsync": "no"}, 0)
    assert (sync.setting, sync.level) == ("appendfsync", "warning")
    assert "half minute" in sync.reason
    (sync,) = risks({**SAFE, "appendfsync": "everysec"}, 0)
    assert (sync.setting, sync.level) == ("appendfsync", "info")
    assert "the last second or two" in sync.reason


def test_without_a_log_it_does_not_matter_when_it_is_synced() -> None:
    settings = {"maxmemory-policy": "noeviction", "appendonly": "no"}
    assert unknown(settings) == []
    assert [risk.setting for risk in risks({**settings, "appendfsync": "no"}, 0)] == ["appendonly"]


def test_what_is_not_known_is_no_risk_but_named() -> None:
    assert risks({}, 0) == []
    assert unknown({}) == ["maxmemory-policy", "appendonly", "appendfsync"]
    assert unknown({"maxmemory-policy": "noeviction", "appendonly": "yes"}) == ["appendfsync"]
