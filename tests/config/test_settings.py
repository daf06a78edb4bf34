"""Where a setting comes from, and what an operator reads when it is wrong."""

from pathlib import Path

import pytest
from tallycast.config.errors import SettingsError
from tallycast.config.settings import Settings, environment_names, ignored, load, pack, unpack

pytestmark = pytest.mark.usefixtures("no_settings")


def refusal(**flags: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**flags)
    return str(caught.value)


def test_defaults() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.data == Path("data")
    assert settings.redis_url is None


def test_environment_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYCAST_HOST", "::")
    monkeypatch.setenv("TALLYCAST_WORKERS", "3")
    monkeypatch.setenv("TALLYCAST_DATA", "/srv/tally")
    monkeypatch.setenv("REDIS_URL", "redis://db:6379/1")
    monkeypatch.setenv("PORT", "81")
    settings = load()
    assert (settings.host, settings.port, settings.workers) == ("::", 81, 3)
    assert settings.data == Path("/srv/tally")
    assert settings.redis_url == "redis://db:6379/1"


def test_flags_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYCAST_PORT", "81")
    monkeypatch.setenv("TALLYCAST_DATA", "/srv/tally")
    settings = load(port="82", data=None)
    assert settings.port == 82
    assert settings.data == Path("/srv/tally")


def test_a_flag_saves_a_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYCAST_PORT", "abc")
    assert load(port="82").port == 82


def test_our_port_over_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "81")
    monkeypatch.setenv("TALLYCAST_PORT", "82")
    assert load().port == 82
    monkeypatch.setenv("TALLYCAST_PORT", "")
    assert load().port == 81


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        for variable in environment_names(name):
            monkeypatch.setenv(variable, "")
    assert load().model_dump() == Settings.model_construct().model_dump()


def test_bare_names_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # Some shells export HOST.
    for variable in ("HOST", "host", "WORKERS", "DATA", "tallycast_host", "port"):
        monkeypatch.setenv(variable, "7")
    assert load() == Settings.model_construct()


@pytest.mark.parametrize("value", ["abc", "-1", "65536", "80.5", "", "1e3", "٨x"])
def test_a_wrong_port(value: str) -> None:
    assert refusal(port=value) == f"--port: expected a whole number from 0 to 65535, not {value!r}"


@pytest.mark.parametrize("value", ["0", "257", "two"])
def test_a_wrong_number_of_workers(value: str) -> None:
    assert refusal(workers=value) == f"--workers: expected a whole number from 1 to 256, not {value!r}"


# The resolver would raise a UnicodeError.
NO_NAMES = ["a..b", ".a", "x" * 64]
NO_PATHS = ["unix:", "unix:x", "unix:/x/", "unix:/\0", "unix:/" + "x" * 107]


@pytest.mark.parametrize("value", ["", "http://here", "a b", "x/y", "x\n", *NO_NAMES, *NO_PATHS])
def test_a_wrong_host(value: str) -> None:
    assert refusal(host=value) == (
        "--host: expected an IP address, a host name, or unix: and an absolute path of at most 107 bytes, "
        f"not {value!r}"
    )


@pytest.mark.parametrize("value", ["", " ", "a\0b", "~no-such-user/x"])
def test_a_wrong_folder(value: str) -> None:
    assert refusal(data=value) == f"--data: expected a folder, not {value!r}"


def test_the_variable_that_was_given_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")
    assert refusal().startswith("PORT: expected")
    monkeypatch.setenv("TALLYCAST_PORT", "abc")
    assert refusal().startswith("TALLYCAST_PORT: expected")
    assert refusal(port="abc").startswith("--port: expected")


SERVICE = {
    "TALLYCAST_SERVICE_HOST": "10.96.0.10",
    "TALLYCAST_SERVICE_PORT": "8000",
    "TALLYCAST_SERVICE_PORT_HTTP": "8000",
    "TALLYCAST_PORT": "tcp://10.96.0.10:8000",
    "TALLYCAST_PORT_8000_TCP": "tcp://10.96.0.10:8000",
    "TALLYCAST_PORT_8000_TCP_PROTO": "tcp",
    "TALLYCAST_PORT_8000_TCP_PORT": "8000",
    "TALLYCAST_PORT_8000_TCP_ADDR": "10.96.0.10",
    "TALLYCAST_METRICS_SERVICE_HOST": "10.96.0.11",
    "TALLYCAST_METRICS_PORT": "tcp://[fd00::1]:9464",
    "TALLYCAST_WEB_PORT": "udp://10.96.0.12:1",
    "TALLYCAST_NAME": "/web/tallycast",
    "TALLYCAST_ENV_PYTHON_VERSION": "3.13",
    "REDIS_PORT": "tcp://10.96.0.13:6379",
}


def inject(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_what_kubernetes_and_docker_inject_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """For Services called tallycast, tallycast-metrics, tallycast-web and redis, and for a Docker link."""
    inject(monkeypatch, SERVICE)
    assert load() == Settings.model_construct()
    # Only those are reported that have a setting's name: the others are no mistake.
    assert sorted(name for name, _ in ignored()) == ["TALLYCAST_METRICS_PORT", "TALLYCAST_PORT"]
    monkeypatch.setenv("PORT", "81")
    assert load().port == 81
    assert unpack(pack(load())).port == 81
    monkeypatch.setenv("PORT", "abc")
    assert refusal().startswith("PORT: expected")


@pytest.mark.parametrize("value", ["tcp://h", "tcp:8000", "http://10.96.0.10:8000", "tcp://h:1/x"])
def test_a_wrong_port_that_no_platform_injects(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TALLYCAST_PORT", value)
    assert refusal() == f"TALLYCAST_PORT: expected a whole number from 0 to 65535, not {value!r}"
    assert refusal(port="tcp://10.96.0.10:8000").startswith("--port: expected")


def test_a_misspelt_variable_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    inject(
        monkeypatch, {"TALLYCAST_ADRESS_REQUESTS": "1/s", "TALLYCAST_XYZZY": "1", "TALLYCAST_TOKEN_KEY": "k"}
    )
    assert ignored() == [
        ("TALLYCAST_ADRESS_REQUESTS", "there is no such setting; did you mean TALLYCAST_ADDRESS_REQUESTS?"),
        ("TALLYCAST_XYZZY", "there is no such setting"),
    ]


def test_base_path() -> None:
    assert load().base_path == "/"
    assert load(base_path="/tally").base_path == "/tally/"
    for value in ("tally", "/v1/x", "https://example.org/tally"):
        assert refusal(base_path=value) == (
            "--base-path: expected a path such as /tally (letters, digits, '.', '_', '~' and '-', "
            f"not one of the server's own), not {value!r}"
        )


def test_unix_socket() -> None:
    assert load().socket_path is None
    assert load(host="unix:/run/a b.sock").socket_path == "/run/a b.sock"
    assert load(host="unix:/" + "x" * 106).host.endswith("x")
    assert (load().socket_mode, load(socket_mode="0666").socket_mode) == ("660", "0666")
    for mode in ("", "66", "888", "rw", "1660"):
        assert refusal(socket_mode=mode).startswith("--socket-mode: expected three octal digits")
    for owner in ("www-data", "www-data:web", ":web", "33:33"):
        assert load(socket_owner=owner).socket_owner == owner
    for owner in ("", ":", "a:", "a b", "a:b:c"):
        assert (
            refusal(socket_owner=owner)
            == f"--socket-owner: expected user, user:group or :group, not {owner!r}"
        )


def test_durability() -> None:
    assert (load().durability, load().replicas) == ("local", 0)
    assert load(durability="replica").replicas == 1
    assert refusal(durability="both") == "--durability: expected local or replica, not 'both'"


def test_a_home_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(data="~/tally").data == tmp_path / "tally"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:geheim@h:6379/0?client_name=x",
        "rediss://u:geheim@h",
        "unix:///run/a b.sock",
        "redis://h:7000?cluster=true",
        "rediss://u:geheim@h/0?cluster=true&db=0",
        "unix:///run/a.sock?cluster=false",
    ],
)
def test_engine_urls(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    settings = load()
    assert settings.redis_url == url
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?cluster=yes",
        "redis://h/1?cluster=true",
        "redis://h?cluster=true&db=2",
        "unix:///run/a.sock?cluster=true",
        "h:6379",
        "geheim",
        "http://u:geheim@h",
        "REDIS://h",
        "unix://",
        "unix:/x",
        "redis://h:0",
        "redis://h/abc",
        "redis://h/0/1",
        "redis://h?db=x",
        "redis://h?foo=1",
        "redis://h?decode_responses=true",
        "unix:///run/x.sock?db=",
        "redis://h:geheim",
        "redis://:geheim#1@h",
        "unix:///run/x.sock#db=1",
    ],
)
def test_a_wrong_engine_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    line = refusal()
    assert line.startswith("REDIS_URL: expected a redis://, rediss:// or unix:// URL, not ")
    assert "geheim" not in line
    assert "\n" not in line


@pytest.mark.parametrize("value", ["staging:", "a", "team-1:blue.", "TC:", "tc", "t_c", "x" * 64])
def test_a_prefix(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TALLYCAST_PREFIX", value)
    assert load().prefix == value
    assert unpack(pack(load())).prefix == value


@pytest.mark.parametrize("value", ["a b", "{a}", "a*", "é", "a/b", "tc:", "x:tc:", "a\n", "[a]", "x" * 65])
def test_a_wrong_prefix(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TALLYCAST_PREFIX", value)
    expected = "1 to 64 letters, digits and any of . _ : -, without tc:"
    assert refusal() == f"TALLYCAST_PREFIX: expected {expected}, not {value!r}"


def test_a_child_gets_exactly_what_its_parent_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(port="0", host="::1", data="a b/ü")
    monkeypatch.setenv("TALLYCAST_PORT", "9")
    monkeypatch.setenv("TALLYCAST_HOST", "elsewhere")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert unpack(pack(settings)) == settings
