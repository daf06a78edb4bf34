"""The settings of a server: the environment, read once and frozen.

Owns names, defaults, ranges and help texts of every setting; the command line and the README's table
are made from this one list. Must not know what the settings are used for. Only ``app``, ``cli`` and the
two processes between them (``supervisor``, ``worker``) read it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tallycast.config import engine_url, environment, errors, hosts, key_prefix
from tallycast.config.environment import Ignored
from tallycast.contract.errors import SettingsError
from tallycast.domain.addresses import networks
from tallycast.domain.base_path import ROOT
from tallycast.domain.base_path import check as check_base_path
from tallycast.domain.limits import Caps
from tallycast.domain.rates import rate

_RATE = "a rate, such as '1/s burst 30'"


def _a_rate(text: str) -> str:
    rate(text)
    return text


def _says(expected: str) -> dict[str, Any]:
    """What a right value looks like, as the error line puts it."""
    return {"expected": expected}


class _Environment(EnvSettingsSource):
    """The environment without what a platform injected under a setting's name."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {
            name: value
            for name, value in super()._load_env_vars().items()
            if not environment.is_injected(name, value or "")
        }


class Settings(BaseSettings):
    """What one server was told. Flags win over the environment, the environment over defaults."""

    # Names of fields are accepted too (flags come by name). Without prefix and case sensitivity that
    # would make a plain HOST, which some shells export, a setting.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_prefix="TALLYCAST_",
        case_sensitive=True,
        env_ignore_empty=True,
    )

    host: Annotated[
        str,
        AfterValidator(hosts.check),
        Field(
            validation_alias="TALLYCAST_HOST",
            description="Address to listen on; 0.0.0.0 for every interface, unix:/run/tallycast.sock for a "
            "Unix socket.",
            json_schema_extra=_says(
                f"an IP address, a host name, or unix: and an absolute path of at most {hosts.MAX_PATH} bytes"
            ),
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            validation_alias=AliasChoices("TALLYCAST_PORT", "PORT"),
            description="Port to listen on; 0 picks a free one.",
            json_schema_extra=_says("a whole number from 0 to 65535"),
        ),
    ] = 8000
    socket_mode: Annotated[
        str,
        Field(
            pattern=r"^0?[0-7]{3}$",
            validation_alias="TALLYCAST_SOCKET_MODE",
            description="Permissions of the Unix socket: its proxy must be able to write to it.",
            json_schema_extra=_says("three octal digits, such as 660"),
        ),
    ] = "660"
    socket_owner: Annotated[
        str | None,
        Field(
            pattern=r"^([\w.-]+(:[\w.-]+)?|:[\w.-]+)$",
            validation_alias="TALLYCAST_SOCKET_OWNER",
            description="Owner of the Unix socket: user, user:group or :group.",
            json_schema_extra=_says("user, user:group or :group"),
        ),
    ] = None
    base_path: Annotated[
        str,
        AfterValidator(check_base_path),
        Field(
            validation_alias="TALLYCAST_BASE_PATH",
            description="Path below which browsers reach the server, such as /tally for "
            "https://example.org/tally/.",
            json_schema_extra=_says(
                "a path such as /tally (letters, digits, '.', '_', '~' and '-', not one of the server's own)"
            ),
        ),
    ] = ROOT
    workers: Annotated[
        int,
        Field(
            ge=1,
            le=256,
            validation_alias="TALLYCAST_WORKERS",
            description="Worker processes; about one per core.",
            json_schema_extra=_says("a whole number from 1 to 256"),
        ),
    ] = 1
    data: Annotated[
        Path,
        Field(
            validation_alias="TALLYCAST_DATA",
            description="Folder of the embedded engine's data. Unused when REDIS_URL is set.",
            json_schema_extra=_says("a folder"),
        ),
    ] = Path("data")
    drain: Annotated[
        int,
        Field(
            ge=0,
            le=3600,
            validation_alias="TALLYCAST_DRAIN",
            description="Seconds to stop in: connections are closed evenly over most of them.",
            json_schema_extra=_says("a whole number of seconds from 0 to 3600"),
        ),
    ] = 8
    config: Annotated[
        Path | None,
        Field(
            validation_alias="TALLYCAST_CONFIG",
            description="File with your sites: see docs/configuration.md. SIGHUP reads it again.",
            json_schema_extra=_says("a file"),
        ),
    ] = None
    forwarded_allow_ips: Annotated[
        str,
        Field(
            validation_alias="TALLYCAST_FORWARDED_ALLOW_IPS",
            description="Proxies whose X-Forwarded-For is believed: addresses, networks, unix (the peer on a "
            "Unix socket), or none.",
            json_schema_extra=_says("addresses and networks, such as 127.0.0.1,10.0.0.0/8,unix, or none"),
        ),
    ] = "127.0.0.0/8,::1,unix"
    log_addresses: Annotated[
        bool,
        Field(
            validation_alias="TALLYCAST_LOG_ADDRESSES",
            description="Let log lines have the addresses of clients.",
            json_schema_extra=_says("on or off"),
        ),
    ] = False
    demo: Annotated[
        bool | None,
        Field(
            validation_alias="TALLYCAST_DEMO",
            description="Serve the demo pages: /, /demo/wall and /live. On unless there is a sites file.",
            json_schema_extra=_says("on or off"),
        ),
    ] = None
    metrics_port: Annotated[
        int | None,
        Field(
            ge=0,
            le=65535,
            validation_alias="TALLYCAST_METRICS_PORT",
            description="Serve metrics for Prometheus on this port, at /metrics; 0 picks a free one.",
            json_schema_extra=_says("a whole number from 0 to 65535"),
        ),
    ] = None
    metrics_host: Annotated[
        str,
        Field(
            pattern=r"^[\w.:%-]+$",
            validation_alias="TALLYCAST_METRICS_HOST",
            description="Address for the metrics' port. They are for you, not for the world.",
            json_schema_extra=_says("an IP address or a host name"),
        ),
    ] = "127.0.0.1"
    durability: Annotated[
        Literal["local", "replica"],
        Field(
            validation_alias="TALLYCAST_DURABILITY",
            description="What confirms a reaction: the server of REDIS_URL alone (local), or a replica too.",
            json_schema_extra=_says("local or replica"),
        ),
    ] = "local"
    connections: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            validation_alias="TALLYCAST_CONNECTIONS",
            description="Open connections of a worker, plain HTTP too; more are told to come later.",
            json_schema_extra=_says("a whole number from 1 to 1000000"),
        ),
    ] = Caps().connections
    address_connections: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            validation_alias="TALLYCAST_ADDRESS_CONNECTIONS",
            description="Open connections of one address with a worker.",
            json_schema_extra=_says("a whole number from 1 to 1000000"),
        ),
    ] = Caps().address_connections
    address_arrivals: Annotated[
        str,
        AfterValidator(_a_rate),
        Field(
            validation_alias="TALLYCAST_ADDRESS_ARRIVALS",
            description="New sockets and event streams of one address with a worker.",
            json_schema_extra=_says(_RATE),
        ),
    ] = str(Caps().address_arrivals)
    address_requests: Annotated[
        str,
        AfterValidator(_a_rate),
        Field(
            validation_alias="TALLYCAST_ADDRESS_REQUESTS",
            description="HTTP requests of one address to a worker, health checks and the script aside.",
            json_schema_extra=_says(_RATE),
        ),
    ] = str(Caps().address_requests)
    address_visitors: Annotated[
        str,
        AfterValidator(_a_rate),
        Field(
            validation_alias="TALLYCAST_ADDRESS_VISITORS",
            description="New anonymous visitors that a worker makes for one address.",
            json_schema_extra=_says(_RATE),
        ),
    ] = str(Caps().address_visitors)
    request_within: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            validation_alias="TALLYCAST_REQUEST_WITHIN",
            description="Seconds in which a request, or an upgrade, must have come.",
            json_schema_extra=_says("seconds, more than 0 and at most 3600"),
        ),
    ] = 10.0
    engine_memory: Annotated[
        str,
        Field(
            pattern=r"^[1-9]\d{0,9}(mb|gb)$",
            validation_alias="TALLYCAST_ENGINE_MEMORY",
            description="What the embedded engine may hold; then reactions are refused, and none is lost.",
            json_schema_extra=_says("a number and mb or gb, such as 512mb"),
        ),
    ] = "1gb"
    redis_url: Annotated[
        str | None,
        Field(
            repr=False,
            validation_alias="REDIS_URL",
            description="Use this Redis or Valkey server instead of the embedded engine: "
            "redis://, rediss:// or unix://. With ?cluster=true it is one node of a cluster.",
            json_schema_extra=_says("a redis://, rediss:// or unix:// URL"),
        ),
    ] = None
    prefix: Annotated[
        Annotated[str, AfterValidator(key_prefix.check)] | None,
        Field(
            validation_alias="TALLYCAST_PREFIX",
            description="What all keys and channels in the engine begin with, such as staging:. "
            "One for each deployment that shares a database.",
            json_schema_extra=_says(key_prefix.EXPECTED),
        ),
    ] = None

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
        """The path of the Unix socket to listen on; ``None`` where it is a TCP port."""
        return hosts.unix_path(self.host)

    @property
    def replicas(self) -> int:
        """How many replicas must confirm a write."""
        return int(self.durability == "replica")

    @property
    def has_demo(self) -> bool:
        """Whether the demo pages are served: as said, else where nobody has sites of their own."""
        return self.config is None if self.demo is None else self.demo

    @field_validator("data", "config", mode="before")
    @classmethod
    def _a_path(cls, value: str | Path | None) -> Path | None:
        if value is None:
            return None
        if not str(value).strip() or "\0" in str(value):
            raise ValueError("not a path")
        try:  # A Procfile or a service file has no shell that would expand it.
            return Path(value).expanduser()
        except RuntimeError as error:
            raise ValueError("no such home") from error

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _an_engine(cls, value: str | None) -> str | None:
        return None if value is None else engine_url.check(value)


def environment_names(name: str) -> list[str]:
    """The environment variables of a setting, the first one leading."""
    return errors.variables(Settings.model_fields[name])


def ignored() -> list[Ignored]:
    """The environment variables that look like settings and have no effect."""
    names = [variable for name in Settings.model_fields for variable in environment_names(name)]
    return environment.ignored(os.environ, names)


def default_text(name: str) -> str:
    """A setting's default as a person writes it."""
    default = Settings.model_fields[name].default
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"{default:g}"
    return "none" if default is None else str(default)


def load(**flags: Any) -> Settings:
    """Settings from the flags that were given (``None``: not given), the environment and the defaults.

    Raises:
        SettingsError: a value is wrong; its text is one line that names the setting and the value.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(errors.one_line(error, given, Settings.model_fields)) from None


def pack(settings: Settings) -> str:
    """Settings as one string, for a child process."""
    return settings.model_dump_json()


def unpack(text: str) -> Settings:
    """The settings that ``pack`` was given. The environment has no say: the parent has read it."""
    return Settings(**json.loads(text))
