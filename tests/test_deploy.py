"""What is in ``deploy/`` and in the operators' document is true: names, labels and times are the code's."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tallycast.config.settings import Settings, environment_names, load
from tallycast.engine.preflight.requirements import SETTINGS
from tallycast.observability.measures import SERVER_METRICS, WORKERS_METRICS, Metric
from tallycast.process.exporter import PREFIX

from tests.conftest import MakeServer
from tests.support import scrape
from tests.support.parts import Parts
from tests.support.process import ServerProcess, clean_environment

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DASHBOARD = (DEPLOY / "grafana-dashboard.json").read_text()
ALERTS = (DEPLOY / "alerts.yaml").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (*WORKERS_METRICS, *SERVER_METRICS)
# What the server needs after its connections are closed: the engine's end, and a margin (s).
AFTER_THE_DRAIN = 5


def exposed(metric: Metric) -> list[str]:
    """The names under which a metric is found."""
    endings = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return [PREFIX + metric.name + ending for ending in endings[metric.kind]]


LABELS = {
    name: {metric.label} - {None} | ({"le"} if name.endswith("_bucket") else set())
    for metric in METRICS
    for name in exposed(metric)
}
PARTS = Parts(lambda: 0.0)
VALUES = {
    "outcome": set(PARTS.reactions.outcomes()),
    "code": set(PARTS.websockets.disconnects()),
    "transport": set(PARTS.registry.connections()),
    "setting": set(SETTINGS),
}
# What Prometheus adds.
EVERYWHERE = {"job", "instance"}


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD)["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    return queries + [rule["expr"] for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", expressions())
def test_queries_ask_for_what_there_is(expression: str) -> None:
    names = re.findall(r"\btallycast_\w+", expression)
    assert set(names) <= LABELS.keys()
    # "up" is Prometheus' own.
    assert names or expression.startswith("up{")
    labels = EVERYWHERE.union(*(LABELS[name] for name in names))
    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in listed.split(",")} <= labels
    for matchers in re.findall(r"\{([^}]*)\}", expression):
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert label in labels
            assert label not in VALUES or value in VALUES[label]


def test_every_metric_is_on_the_dashboard() -> None:
    for metric in METRICS:
        assert any(name in DASHBOARD for name in exposed(metric)), metric.name


def test_the_document_names_no_other_metric() -> None:
    known = {name for metric in METRICS for name in (*exposed(metric), PREFIX + metric.name)}
    assert set(re.findall(r"\btallycast_\w+", OPERATIONS)) <= known


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def unit() -> dict[str, list[str]]:
    """The keys of the unit's sections; what is given more than once has all of its values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "tallycast.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def platforms() -> dict[str, tuple[dict[str, str], int]]:
    """The settings that each platform's file gives, and the time (s) it leaves until SIGKILL."""
    service = compose()["services"]["tallycast"]
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    variables = " ".join(unit()["Environment"]).split()
    return {
        "compose": (service["environment"], seconds(service["stop_grace_period"])),
        "systemd": (dict(pair.split("=", 1) for pair in variables), int(unit()["TimeoutStopSec"][0])),
        "fly": (fly["env"], fly["kill_timeout"]),
    }


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("platform", platforms())
def test_a_platform_gives_settings_that_exist_and_the_time_to_drain(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, until_kill = platforms()[platform]
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    assert given.keys() <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.drain + AFTER_THE_DRAIN <= until_kill
    assert settings.metrics_port is not None


def test_the_exposition_is_what_the_document_and_the_rules_are_about(make_server: MakeServer) -> None:
    """Of a real server, all workers together."""
    server = make_server(flags=["--workers", "2", *scrape.FLAGS])
    with urllib.request.urlopen(scrape.url(server), timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    # One without a sample has a label of which nothing has been seen yet.
    assert found.keys() <= LABELS.keys()
    assert {name for name in LABELS.keys() - found.keys() if not LABELS[name] - {"le"}} == set()
    assert all(found[name] == LABELS[name] for name in found)
    shown = {name for metric in METRICS for name in (*exposed(metric), PREFIX + metric.name)}
    assert {family.name for family in families} <= shown
    assert len(families) == len(METRICS)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_has_all_its_parts(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description"}
    for text in (rule["expr"], *rule["annotations"].values()):
        for opening, closing in ("()", "[]", "{}"):
            assert text.count(opening) == text.count(closing)
    for template in re.findall(r"{{(.*?)}}", "".join(rule["annotations"].values())):
        assert template.strip() in ("$labels.instance", "$labels.worker", "$labels.setting")
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


WATCHED = (
    "engine_up",
    "engine_writable",
    "engine_unsafe",
    "worker_up",
    "worker_restarts",
    "reactions",
    "delivery_lag_seconds",
    "engine_round_trip_seconds",
    "reconciliation_repairs",
    "audit_repairs",
    "drifts",
)


@pytest.mark.parametrize("name", WATCHED)
def test_what_must_not_go_unnoticed_has_a_rule(name: str) -> None:
    metric = next(metric for metric in METRICS if metric.name == name)
    assert any(name in rule["expr"] for rule in rules() for name in exposed(metric))


def test_no_label_is_without_end() -> None:
    assert {metric.label for metric in METRICS} == {None, *VALUES, "worker", "version"}


def test_what_restarts_or_hides_a_server_asks_whether_it_lives() -> None:
    """It would mend nothing to restart one whose engine takes no reactions, and hide what can be shown."""
    assert health_check() == ["tallycast", "health"]
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/livez"]


def health_check() -> list[str]:
    """The command that Docker runs in the container."""
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return list(json.loads(found[1]))


def test_the_health_check_goes_by_the_containers_variables(server: ServerProcess) -> None:
    """On whichever port the platform wants the server."""
    image = re.search(r"^ENV (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert image is not None
    env = dict(pair.split("=", 1) for pair in image[1].split()) | {"PORT": server.url.rpartition(":")[2]}
    command = [sys.executable, "-m", "tallycast", *health_check()[1:]]
    for port, status in (({}, 0), ({"TALLYCAST_PORT": "1"}, 1)):
        given = clean_environment(env | port)
        done = subprocess.run(command, env=given, check=False, capture_output=True, timeout=30)
        assert done.returncode == status, done


def test_ports_fit_together() -> None:
    service = compose()["services"]["tallycast"]
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    scraped = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    port = service["environment"]["TALLYCAST_METRICS_PORT"]
    assert scraped["static_configs"][0]["targets"] == [f"tallycast:{port}"]
    assert f'job="{scraped["job_name"]}"' in ALERTS
    assert str(fly["metrics"]["port"]) == fly["env"]["TALLYCAST_METRICS_PORT"]
    assert str(fly["http_service"]["internal_port"]) == fly["env"]["TALLYCAST_PORT"]


def test_mounted_files_exist() -> None:
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists()


def test_the_procfile_is_the_command(no_settings: None) -> None:
    command = (ROOT / "Procfile").read_text()
    assert command.startswith("web: tallycast serve --host 0.0.0.0")
    assert "TALLYCAST_DRAIN=20" in OPERATIONS


HARDENED = {
    **dict.fromkeys(
        ("NoNewPrivileges", "PrivateUsers", "PrivateDevices", "PrivateIPC", "ProtectHome"), "yes"
    ),
    **dict.fromkeys(("ProtectClock", "ProtectHostname", "ProtectControlGroups", "RestrictRealtime"), "yes"),
    **dict.fromkeys(("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"), "yes"),
    **dict.fromkeys(("RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality", "DynamicUser"), "yes"),
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "MemoryDenyWriteExecute": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}


def test_the_unit_keeps_the_server_from_what_it_does_not_need() -> None:
    """What ``systemd-analyze security`` asks for; each weighs up to half a point of the exposure."""
    found = unit()
    assert {name: found.get(name) for name in HARDENED} == {name: [value] for name, value in HARDENED.items()}
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    # Without capabilities a port below 1024 could not be had.
    given, _ = platforms()["systemd"]
    assert int(given["TALLYCAST_PORT"]) >= 1024
    # The folders that a strictly protected system leaves writable.
    assert given["TALLYCAST_DATA"] == f"/var/lib/{found['StateDirectory'][0]}"
    assert f"unix:/run/{found['RuntimeDirectory'][0]}/" in (DEPLOY / "nginx.conf").read_text()


def test_the_unit_is_right(tmp_path: Path) -> None:
    program = "/opt/tallycast/bin/tallycast"
    assert unit()["ExecStart"][0].split()[:2] == [program, "serve"]
    # Where systemd is not installed its own check cannot be made.
    verify = shutil.which("systemd-analyze")
    if verify is None:
        return
    copy = tmp_path / "tallycast.service"
    copy.write_text((DEPLOY / "tallycast.service").read_text().replace(program, "/bin/true"))
    command = [verify, "verify", "--man=no", copy]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(copy) not in done.stderr, done.stderr
    command = [verify, "security", "--offline=true", "--threshold=25", "--no-pager", copy]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
