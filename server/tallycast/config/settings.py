"""Settings of a server, read once from flags, the environment and defaults, then frozen.

Owns the declaration of every setting: name, default, range, help text. Flags, variables, ``--help`` and the
README's table are derived from it. Does not depend on what the settings are used for. Only ``app``,
``cli`` and ``process`` read it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    BeforeValidator,
    Field,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tallycast.config import engine_url, environment, errors, hosts, key_prefix
from tallycast.config.environment import Ignored
from tallycast.config.errors import SettingsError
from tallycast.domain.addresses import networks
from tallycast.domain.base_path import ROOT
from tallycast.domain.base_path import check as check_base_path
from tallycast.domain.limits import Caps
from tallycast.domain.rates import Rate, rate


def _setting(
    default: Any,
    metavar: str | None,
    description: str,
    expected: str,
    *,
    panel: str = "Options",
    unset: str = "none",
    **field: Any,
) -> Any:
    """Declare a setting.

    Args:
        default: Its default.
        metavar: What its flag's value is called in ``--help``. None: it has no flag, only a variable.
        description: Its help text.
        expected: What a valid value is, as errors put it.
        panel: The part of ``--help`` that it is listed in.
        unset: What the default None means.
        field: Constraints of its value, and ``validation_alias`` where its variable is not TALLYCAST_NAME.
    """
    extra: Any = {"metavar": metavar, "expected": expected, "panel": panel, "unset": unset}
    return Field(default, description=description, json_schema_extra=extra, **field)


def _number(default: float | None, ge: int, le: int, description: str, **more: Any) -> Any:
    expected = f"a whole number from {ge} to {le}"
    return _setting(default, "NUMBER", description, expected, ge=ge, le=le, **more)


def _switch(default: bool | None, description: str, **more: Any) -> Any:
    return _setting(default, "", description, "on or off", panel="Switches", **more)


def _rate(default: Rate, description: str) -> Any:
    return _setting(str(default), "RATE", description, "a rate, such as '1/s burst 30'", panel="Limits")


def _check_rate(text: str) -> str:
    rate(text)
    return text


def _check_networks(text: str) -> str:
    networks(text)
    return text


def _path(value: str | Path) -> Path:
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("not a path")
    try:  # A Procfile or a service file has no shell that would expand it.
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("no such home") from error


_Host = Annotated[str, AfterValidator(hosts.check)]
_Path = Annotated[Path, BeforeValidator(_path)]
_Rate = Annotated[str, AfterValidator(_check_rate)]


class _Environment(EnvSettingsSource):
    """The environment without what a platform injected under a setting's name."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if not environment.is_injected(name, value or "")
        }


class Settings(BaseSettings):
    """The settings of one server. Flags override the environment, the environment overrides defaults."""

    # Field names are accepted too, because flags come by name. Without prefix and case sensitivity, that
    # would make HOST, which some shells export, a setting.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: f"{environment.PREFIX}{name.upper()}"),
        env_prefix=environment.PREFIX,
        case_sensitive=True,
        env_ignore_empty=True,
    )

    host: _Host = _setting(
        "127.0.0.1",
        "ADDRESS",
        "Address to listen on; 0.0.0.0 for every interface, unix:/run/tallycast.sock for a Unix socket.",
        f"an IP address, a host name, or unix: and an absolute path of at most {hosts.MAX_PATH} bytes",
    )
    port: int = _number(
        8000,
        0,
        65535,
        "Port to listen on; 0 picks a free one.",
        validation_alias=AliasChoices("TALLYCAST_PORT", "PORT"),
    )
    socket_mode: str = _setting(
        "660",
        "MODE",
        "Permissions of the Unix socket. The proxy needs write access.",
        "three octal digits, such as 660",
        pattern=r"^0?[0-7]{3}$",
    )
    socket_owner: str | None = _setting(
        None,
        "OWNER",
        "Owner of the Unix socket: user, user:group or :group.",
        "user, user:group or :group",
        pattern=r"^([\w.-]+(:[\w.-]+)?|:[\w.-]+)$",
    )
    base_path: Annotated[str, AfterValidator(check_base_path)] = _setting(
        ROOT,
        "PATH",
        "URL path prefix of the server, such as /tally for https://example.org/tally/.",
        "a path such as /tally (letters, digits, '.', '_', '~' and '-', not one of the server's own)",
    )
    workers: int = _number(1, 1, 256, "Worker processes; about one per core.")
    data: _Path = _setting(
        Path("data"),
        "FOLDER",
        "Data folder of the embedded engine. Unused when REDIS_URL is set.",
        "a folder",
    )
    drain: int = _setting(
        8,
        "SECONDS",
        "Time limit of a graceful shutdown, in seconds. Connections are closed evenly over most of it.",
        "a whole number of seconds from 0 to 3600",
        ge=0,
        le=3600,
    )
    config: _Path | None = _setting(
        None, "FILE", "Sites file: see docs/configuration.md. SIGHUP reloads it.", "a file"
    )
    forwarded_allow_ips: Annotated[str, AfterValidator(_check_networks)] = _setting(
        "127.0.0.0/8,::1,unix",
        "LIST",
        "Trusted proxies, whose X-Forwarded-For is used: addresses, networks, unix (the peer on a Unix "
        "socket), or none.",
        "addresses and networks, such as 127.0.0.1,10.0.0.0/8,unix, or none",
    )
    log_addresses: bool = _switch(False, "Log client IP addresses.")
    demo: bool | None = _switch(
        None, "Serve the demo pages: /, /demo/wall and /live.", unset="on without a sites file"
    )
    metrics_port: int | None = _number(
        None, 0, 65535, "Serve Prometheus metrics on this port, at /metrics; 0 picks a free one."
    )
    metrics_host: str = _setting(
        "127.0.0.1",
        "ADDRESS",
        "Address of the metrics port. Keep it private.",
        "an IP address or a host name",
        pattern=r"^[\w.:%-]+$",
    )
    durability: Literal["local", "replica"] = _setting(
        "local",
        "local|replica",
        "Acknowledge a reaction after the server at REDIS_URL has stored it (local), or a replica too.",
        "local or replica",
    )
    connections: int = _number(
        Caps().connections,
        1,
        1_000_000,
        "Open connections per worker, HTTP included. Further ones are rejected with 503 or close code 4003.",
        panel="Limits",
    )
    address_connections: int = _number(
        Caps().address_connections, 1, 1_000_000, "Open connections per address and worker.", panel="Limits"
    )
    address_arrivals: _Rate = _rate(
        Caps().address_arrivals, "New WebSockets and event streams per address and worker."
    )
    address_requests: _Rate = _rate(
        Caps().address_requests,
        "HTTP requests per address and worker. Health checks and the script are not counted.",
    )
    address_visitors: _Rate = _rate(Caps().address_visitors, "New anonymous visitors per address and worker.")
    request_within: float = _setting(
        10.0,
        "SECONDS",
        "Request read timeout, in seconds.",
        "seconds, more than 0 and at most 3600",
        panel="Limits",
        gt=0,
        le=3600,
    )
    engine_memory: str = _setting(
        "1gb",
        "SIZE",
        "Memory limit of the embedded engine. When it is reached, reactions are refused; none is lost.",
        "a number and mb or gb, such as 512mb",
        panel="Limits",
        pattern=r"^[1-9]\d{0,9}(mb|gb)$",
    )
    redis_url: Annotated[str, AfterValidator(engine_url.check)] | None = _setting(
        None,
        None,
        "Redis or Valkey server to use instead of the embedded engine: redis://, rediss:// or unix://. "
        "With ?cluster=true, a node of a cluster.",
        "a redis://, rediss:// or unix:// URL",
        repr=False,
        validation_alias="REDIS_URL",
    )
    prefix: Annotated[str, AfterValidator(key_prefix.check)] | None = _setting(
        None,
        None,
        "Prefix of all keys and channels in the engine, such as staging:. "
        "Use one per deployment that shares a database.",
        key_prefix.EXPECTED,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: object,
        **__: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment."""
        return init_settings, _Environment(settings_cls)

    @property
    def socket_path(self) -> str | None:
        """The path of the Unix socket to listen on; None for a TCP port."""
        return hosts.unix_path(self.host)

    @property
    def replicas(self) -> int:
        """The number of replicas that must confirm a write."""
        return int(self.durability == "replica")

    @property
    def has_demo(self) -> bool:
        """Whether the demo pages are served: as set, by default without a sites file."""
        return self.config is None if self.demo is None else self.demo


class Flag(NamedTuple):
    """How a setting is given on the command line."""

    name: str
    metavar: str
    panel: str

    @property
    def is_switch(self) -> bool:
        """Whether it has no value: ``--demo`` and ``--no-demo``."""
        return not self.metavar


def flag(name: str) -> Flag | None:
    """The flag of a setting; None: there is only the variable."""
    extra = errors.declared(Settings.model_fields[name])
    if extra["metavar"] is None:
        return None
    return Flag(f"--{name.replace('_', '-')}", extra["metavar"], extra["panel"])


def help_text(name: str) -> str:
    """The help text of a setting."""
    return str(Settings.model_fields[name].description)


def environment_names(name: str) -> list[str]:
    """The environment variables of a setting; the first one has precedence."""
    return errors.variables(Settings.model_fields[name])


def default_text(name: str) -> str:
    """The default of a setting as it is typed."""
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"{default:g}"
    return str(errors.declared(field)["unset"] if default is None else default)


def ignored() -> list[Ignored]:
    """The environment variables that look like settings and have no effect."""
    names = [variable for name in Settings.model_fields for variable in environment_names(name)]
    return environment.ignored(os.environ, names)


def load(**flags: Any) -> Settings:
    """Read the settings from flags (None: not given), the environment and defaults.

    Raises:
        SettingsError: a value is invalid; one line with the name of the setting and the value.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(errors.one_line(error, given, Settings.model_fields)) from None


def pack(settings: Settings) -> str:
    """Encode settings for a child process."""
    return settings.model_dump_json()


def unpack(text: str) -> Settings:
    """Decode what ``pack`` returned. The environment is not read again."""
    return Settings(**json.loads(text))
