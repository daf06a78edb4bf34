"""The plan of a run: the options of the command and the keys of a scenario file, validated.

Owns names, defaults, ranges and help texts; the options are made from them. Flags override the scenario, the
scenario overrides defaults. Pure but for reading the scenario.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from tallycast_load.plan import schedule, units
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.spread import EXPECTED as SPREADS
from tallycast_load.plan.spread import Spread
from tallycast_load.plan.thresholds import EXPECTED as THRESHOLDS
from tallycast_load.plan.thresholds import Threshold

ITEMS_PER_CONNECTION = 5000
ITEMS_PER_STREAM = 100
# Defaults without a URL: the private server shares this machine.
PRIVATE_DEFAULTS = {"connections": 1000, "reactions": "100/s", "duration": "15s"}


def _parsed(read: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(read)


def _expects(expected: str) -> dict[str, Any]:
    """A valid value, in the words of the error message."""
    return {"expected": expected}


def _spread(value: object) -> Spread:
    return Spread(value[0], value[1]) if isinstance(value, list | tuple) else Spread.parse(value)


def _thresholds(value: object) -> tuple[Threshold, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        raise ValueError("not thresholds")
    return tuple(Threshold(*one) if isinstance(one, list | tuple) else _threshold(one) for one in values)


def _threshold(text: object) -> Threshold:
    try:
        return Threshold.parse(text)
    except ValueError:
        # The invalid one, not all of them.
        raise PydanticCustomError("plan", "not a threshold", {"value": text}) from None


def _durations(value: object) -> tuple[float, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(units.duration(one) for one in values)


Count = Annotated[int, _parsed(units.count)]
Rate = Annotated[float, _parsed(units.rate)]
Seconds = Annotated[float, _parsed(units.duration)]

_RATE = _expects("a rate such as 500/s")
_TIME = _expects("a duration such as 60s")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Burst(_Model):
    """Another rate at the end of every period, for a while."""

    every: Annotated[Seconds, Field(gt=0, json_schema_extra=_TIME)]
    length: Annotated[Seconds, Field(gt=0, json_schema_extra=_TIME)]
    reactions: Annotated[Rate, Field(gt=0, le=1e6, json_schema_extra=_RATE)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.length > self.every:
            raise PydanticCustomError("plan", "burst.length: expected at most burst.every")
        return self


class Steps(_Model):
    """Raise the rate step by step, until a threshold is missed."""

    factor: Annotated[float, Field(gt=1, le=100, json_schema_extra=_expects("a number above 1"))] = 1.5
    every: Annotated[Seconds, Field(ge=1, json_schema_extra=_expects("a duration of at least 1s"))] = 10.0


class Plan(_Model):
    """The plan of one run."""

    connections: Annotated[
        Count,
        Field(
            ge=1,
            le=1_000_000,
            description="Connections to open; each one watches.",
            json_schema_extra=_expects("a whole number from 1 to 1,000,000"),
        ),
    ] = 10_000
    items: Annotated[
        Count,
        Field(
            ge=1,
            le=1_000_000,
            description="Items to react to and watch, new ones in each run.",
            json_schema_extra=_expects("a whole number from 1 to 1,000,000"),
        ),
    ] = 100
    watch: Annotated[
        Count,
        Field(
            ge=1,
            le=ITEMS_PER_CONNECTION,
            description="Items that each connection watches.",
            json_schema_extra=_expects(f"a whole number from 1 to {ITEMS_PER_CONNECTION:,}"),
        ),
    ] = 1
    spread: Annotated[
        Spread,
        _parsed(_spread),
        Field(
            description="Distribution of watchers and reactions over the items.",
            json_schema_extra=_expects(SPREADS),
        ),
    ] = Spread("zipf", 1.1)
    reactions: Annotated[
        Rate,
        Field(ge=0, le=1e6, description="Reactions, in total.", json_schema_extra=_RATE),
    ] = 500.0
    arrivals: Annotated[
        Literal["poisson", "fixed"],
        Field(
            description="Reactions at random moments, as of people, or evenly spaced.",
            json_schema_extra=_expects("poisson or fixed"),
        ),
    ] = "poisson"
    visitors: Annotated[
        Count | None,
        Field(
            ge=1,
            description="Visitors that react, each on a connection of its own.",
            json_schema_extra=_expects("a whole number from 1"),
        ),
    ] = None
    duration: Annotated[
        Seconds,
        Field(ge=1, le=86400, description="Measured time.", json_schema_extra=_expects("1s or more")),
    ] = 60.0
    warmup: Annotated[
        Seconds,
        Field(
            ge=0,
            le=3600,
            description="Load before the measured time.",
            json_schema_extra=_expects("0s or more"),
        ),
    ] = 5.0
    ramp: Annotated[
        Rate,
        Field(
            ge=1,
            le=1e6,
            description="Rate of new connections, and of reconnects after a storm.",
            json_schema_extra=_RATE,
        ),
    ] = 2000.0
    protocol: Annotated[
        Literal["json", "msgpack"],
        Field(description="The WebSocket's subprotocol.", json_schema_extra=_expects("json or msgpack")),
    ] = "json"
    transport: Annotated[
        Literal["ws", "sse"],
        Field(
            description="WebSocket, or the event stream with reactions over HTTP.",
            json_schema_extra=_expects("ws or sse"),
        ),
    ] = "ws"
    processes: Annotated[
        Count | None,
        Field(
            ge=1,
            le=256,
            description="Worker processes of the harness.",
            json_schema_extra=_expects("a whole number from 1 to 256, or auto"),
        ),
        _parsed(lambda value: None if value == "auto" else value),
    ] = None
    churn: Annotated[
        Rate,
        Field(
            ge=0,
            le=1e5,
            description="Connections dropped and reopened, half of them without a close frame.",
            json_schema_extra=_expects("a rate such as 50/s"),
        ),
    ] = 0.0
    slow: Annotated[
        float,
        _parsed(units.share),
        Field(
            ge=0,
            le=1,
            description="Share of the connections that rarely read.",
            json_schema_extra=_expects("a share such as 1%"),
        ),
    ] = 0.0
    threshold: Annotated[
        tuple[Threshold, ...],
        _parsed(_thresholds),
        Field(
            description="What must hold, or the exit status is 99; may be repeated.",
            json_schema_extra=_expects(THRESHOLDS),
        ),
    ] = ()
    site: Annotated[
        str,
        Field(min_length=1, description="The site on that server.", json_schema_extra=_expects("a name")),
    ] = "default"
    seed: Annotated[
        Count,
        Field(
            ge=0,
            description="The same seed sends the same reactions at the same moments.",
            json_schema_extra=_expects("a whole number"),
        ),
    ] = 1
    burst: Burst | None = None
    steps: Steps | None = None
    storms: Annotated[
        tuple[Seconds, ...],
        _parsed(_durations),
        Field(json_schema_extra=_expects("moments of the measured time such as 10s")),
    ] = ()

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        for invalid, message in (
            (self.watch > self.items, f"watch: a connection cannot watch {self.watch} of {self.items} items"),
            (
                self.transport == "sse" and self.watch > ITEMS_PER_STREAM,
                f"watch: an event stream carries at most {ITEMS_PER_STREAM} items",
            ),
            (
                (self.visitors or 0) > self.regular_connections,
                "visitors: expected at most one for each connection that reads, here "
                f"{self.regular_connections:,}",
            ),
            (self.regular_connections < 1, "slow: expected at least one connection that reads"),
            (self.steps and not self.threshold, "steps: expected a threshold that can be missed"),
            (self.steps and self.burst, "steps: cannot be combined with burst"),
            (
                self.steps and self.duration < self.steps.every,
                "steps: expected a duration of at least one step",
            ),
            (self.steps and self.reactions <= 0, "steps: expected a rate of reactions above 0"),
            (
                any(storm >= self.duration for storm in self.storms),
                "storms: expected moments within the duration",
            ),
        ):
            if invalid:
                raise PydanticCustomError("plan", "{why}", {"why": message})
        return self

    @property
    def slow_connections(self) -> int:
        """How many connections rarely read: the last ones."""
        return round(self.connections * self.slow)

    @property
    def regular_connections(self) -> int:
        """How many connections always read: the first ones."""
        return self.connections - self.slow_connections

    @property
    def visitor_count(self) -> int:
        """How many visitors react; visitor ``n`` uses connection ``n``."""
        return self.visitors if self.visitors is not None else min(5000, self.regular_connections)

    def stages(self) -> list[schedule.Stage]:
        """The stages of the schedule."""
        if self.steps is not None:
            return schedule.steps(
                self.warmup, self.duration, self.reactions, self.steps.factor, self.steps.every
            )
        stages = schedule.steady(self.warmup, self.duration, self.reactions)
        if self.burst is not None:
            stages = schedule.bursts(stages, self.burst.every, self.burst.length, self.burst.reactions)
        return stages


def make(flags: dict[str, Any], scenario: Path | None, *, private: bool) -> Plan:
    """Make a plan from flags (None: not set) and a scenario file.

    Raises:
        LoadError: a value is not valid; the message names the option or key and the value.
    """
    values = {name: value for name, value in flags.items() if value not in (None, (), [])}
    read = _read(scenario) if scenario is not None else {}
    if private and scenario is None:
        read = dict(PRIVATE_DEFAULTS)
    try:
        return Plan(**{**read, **values})
    except ValidationError as error:
        raise LoadError(_one_line(error, values, scenario)) from None


def help_of(name: str) -> str:
    """An option's description."""
    return str(Plan.model_fields[name].description)


def _read(scenario: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(scenario.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoadError(f"--scenario {scenario}: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LoadError(f"--scenario {scenario}: not TOML: {error}") from None
    read.pop("about", None)  # a description
    return read


def _one_line(error: ValidationError, flags: dict[str, Any], scenario: Path | None) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"])
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
    # A union's branches are parts of the location too; only keys of the plan are shown.
    name = names[0]
    where = f"--{name}" if name in flags else f"{scenario}: {'.'.join(names)}"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if first["type"] == "missing":
        return f"{where}: missing"
    value = first.get("ctx", {}).get("value", first["input"])
    return f"{where}: expected {_expected(names)}, not {str(value)!r}"


def _expected(names: list[str]) -> str:
    model: type[BaseModel] = Plan
    if names[0] in ("burst", "steps"):
        if len(names) == 1:
            return "a table"
        model = Burst if names[0] == "burst" else Steps
        names = names[1:]
    extra = model.model_fields[names[0]].json_schema_extra
    return str(extra["expected"]) if isinstance(extra, dict) else "another value"
