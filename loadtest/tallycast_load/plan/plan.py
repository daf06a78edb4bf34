"""What a run is to do: the options of the command and the keys of a scenario file, checked.

Owns names, defaults, ranges and help texts; the command line and the documentation are made from this one
list. Pure but for reading the scenario. Flags win over the scenario, the scenario over defaults.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from tallycast.contract.errors import LoadError

from tallycast_load.plan import schedule, units
from tallycast_load.plan.spread import EXPECTED as SPREADS
from tallycast_load.plan.spread import Spread
from tallycast_load.plan.thresholds import EXPECTED as THRESHOLDS
from tallycast_load.plan.thresholds import Threshold

ITEMS_A_CONNECTION = 5000
ITEMS_A_STREAM = 100
# Without a URL the server is a private one on the same machine: a first look, not a test of strength.
FIRST_LOOK = {"connections": 1000, "reactions": "100/s", "duration": "15s"}


def _said(read: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(read)


def _says(expected: str) -> dict[str, Any]:
    """What a right value looks like, as the error line puts it."""
    return {"expected": expected}


def _spread(value: object) -> Spread:
    return Spread(value[0], value[1]) if isinstance(value, list | tuple) else Spread.parse(value)


def _thresholds(value: object) -> tuple[Threshold, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise ValueError("not thresholds")
    return tuple(Threshold(*one) if isinstance(one, list | tuple) else _threshold(one) for one in given)


def _threshold(text: object) -> Threshold:
    try:
        return Threshold.parse(text)
    except ValueError:
        # The one that is wrong, not all that were given.
        raise PydanticCustomError("plan", "not a threshold", {"value": text}) from None


def _durations(value: object) -> tuple[float, ...]:
    given = value if isinstance(value, list | tuple) else [value]
    return tuple(units.duration(one) for one in given)


Count = Annotated[int, _said(units.count)]
Rate = Annotated[float, _said(units.rate)]
Seconds = Annotated[float, _said(units.duration)]

_RATE = _says("a rate such as 500/s")
_TIME = _says("a duration such as 60s")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Burst(_Part):
    """Once in every period, at its end, another rate for a while."""

    every: Annotated[Seconds, Field(gt=0, json_schema_extra=_TIME)]
    length: Annotated[Seconds, Field(gt=0, json_schema_extra=_TIME)]
    reactions: Annotated[Rate, Field(gt=0, le=1e6, json_schema_extra=_RATE)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.length > self.every:
            raise PydanticCustomError("plan", "burst.length is not longer than burst.every")
        return self


class Steps(_Part):
    """Raise the rate step by step, until a threshold breaks."""

    factor: Annotated[float, Field(gt=1, le=100, json_schema_extra=_says("a number above 1"))] = 1.5
    every: Annotated[Seconds, Field(ge=1, json_schema_extra=_says("a duration of at least 1s"))] = 10.0


class Plan(_Part):
    """One run."""

    connections: Annotated[
        Count,
        Field(
            ge=1,
            le=1_000_000,
            description="Connections to open; each one watches.",
            json_schema_extra=_says("a whole number from 1 to 1,000,000"),
        ),
    ] = 10_000
    items: Annotated[
        Count,
        Field(
            ge=1,
            le=1_000_000,
            description="Items that the run is about, new ones each time.",
            json_schema_extra=_says("a whole number from 1 to 1,000,000"),
        ),
    ] = 100
    watch: Annotated[
        Count,
        Field(
            ge=1,
            le=ITEMS_A_CONNECTION,
            description="Items that each connection watches.",
            json_schema_extra=_says(f"a whole number from 1 to {ITEMS_A_CONNECTION:,}"),
        ),
    ] = 1
    spread: Annotated[
        Spread,
        _said(_spread),
        Field(
            description="How watchers and reactions are spread over the items.",
            json_schema_extra=_says(SPREADS),
        ),
    ] = Spread("zipf", 1.1)
    reactions: Annotated[
        Rate,
        Field(ge=0, le=1e6, description="Reactions, all together.", json_schema_extra=_RATE),
    ] = 500.0
    arrivals: Annotated[
        Literal["poisson", "fixed"],
        Field(
            description="Reactions at random moments, as people do, or evenly spaced.",
            json_schema_extra=_says("poisson or fixed"),
        ),
    ] = "poisson"
    visitors: Annotated[
        Count | None,
        Field(
            ge=1,
            description="Different people who react; the first so many connections are theirs.",
            json_schema_extra=_says("a whole number from 1"),
        ),
    ] = None
    duration: Annotated[
        Seconds,
        Field(ge=1, le=86400, description="How long is measured.", json_schema_extra=_says("1s or more")),
    ] = 60.0
    warmup: Annotated[
        Seconds,
        Field(
            ge=0,
            le=3600,
            description="Load before that, not measured.",
            json_schema_extra=_says("0s or more"),
        ),
    ] = 5.0
    ramp: Annotated[
        Rate,
        Field(
            ge=1, le=1e6, description="New connections, and those that come back.", json_schema_extra=_RATE
        ),
    ] = 2000.0
    protocol: Annotated[
        Literal["json", "msgpack"],
        Field(description="The WebSocket's subprotocol.", json_schema_extra=_says("json or msgpack")),
    ] = "json"
    transport: Annotated[
        Literal["ws", "sse"],
        Field(
            description="WebSocket, or the event stream with reactions over HTTP.",
            json_schema_extra=_says("ws or sse"),
        ),
    ] = "ws"
    processes: Annotated[
        Count | None,
        Field(
            ge=1,
            le=256,
            description="Processes of the harness.",
            json_schema_extra=_says("a whole number from 1 to 256, or auto"),
        ),
        _said(lambda value: None if value == "auto" else value),
    ] = None
    churn: Annotated[
        Rate,
        Field(
            ge=0,
            le=1e5,
            description="Connections that drop and come back, half of them without a goodbye.",
            json_schema_extra=_says("a rate such as 50/s"),
        ),
    ] = 0.0
    slow: Annotated[
        float,
        _said(units.share),
        Field(
            ge=0,
            le=1,
            description="Share of the connections that read only now and then.",
            json_schema_extra=_says("a share such as 1%"),
        ),
    ] = 0.0
    threshold: Annotated[
        tuple[Threshold, ...],
        _said(_thresholds),
        Field(
            description="What must hold, or the exit status is 99; may be repeated.",
            json_schema_extra=_says(THRESHOLDS),
        ),
    ] = ()
    site: Annotated[
        str,
        Field(min_length=1, description="The site on that server.", json_schema_extra=_says("a name")),
    ] = "default"
    seed: Annotated[
        Count,
        Field(
            ge=0,
            description="The same seed sends the same reactions at the same moments.",
            json_schema_extra=_says("a whole number"),
        ),
    ] = 1
    burst: Burst | None = None
    steps: Steps | None = None
    storms: Annotated[
        tuple[Seconds, ...],
        _said(_durations),
        Field(json_schema_extra=_says("moments of the measured time such as 10s")),
    ] = ()

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for wrong, why in (
            (self.watch > self.items, f"watch: a connection cannot watch {self.watch} of {self.items} items"),
            (
                self.transport == "sse" and self.watch > ITEMS_A_STREAM,
                f"watch: an event stream carries at most {ITEMS_A_STREAM} items",
            ),
            (
                (self.visitors or 0) > self.readers,
                f"visitors: at most one for each connection that reads, here {self.readers:,}",
            ),
            (self.readers < 1, "slow: nobody is left who reads"),
            (self.steps and not self.threshold, "steps: needs a threshold that can break"),
            (self.steps and self.burst, "steps: not together with burst"),
            (self.steps and self.duration < self.steps.every, "steps: not one fits into the duration"),
            (self.steps and self.reactions <= 0, "steps: needs a rate of reactions to begin with"),
            (
                any(storm >= self.duration for storm in self.storms),
                "storms: each lies within the duration",
            ),
        ):
            if wrong:
                raise PydanticCustomError("plan", "{why}", {"why": why})
        return self

    @property
    def sleepy(self) -> int:
        """How many connections read only now and then: the last ones."""
        return round(self.connections * self.slow)

    @property
    def readers(self) -> int:
        """How many connections read all the time: the first ones."""
        return self.connections - self.sleepy

    @property
    def people(self) -> int:
        """How many visitors react; visitor ``n`` lives on connection ``n``."""
        return self.visitors if self.visitors is not None else min(5000, self.readers)

    def stages(self) -> list[schedule.Stage]:
        """The rate of reactions over time."""
        if self.steps is not None:
            return schedule.steps(
                self.warmup, self.duration, self.reactions, self.steps.factor, self.steps.every
            )
        stages = schedule.steady(self.warmup, self.duration, self.reactions)
        if self.burst is not None:
            stages = schedule.bursts(stages, self.burst.every, self.burst.length, self.burst.reactions)
        return stages


def make(flags: dict[str, Any], scenario: Path | None, *, private: bool) -> Plan:
    """The plan from the flags that were given (``None``: not given) and a scenario file.

    Raises:
        LoadError: something is wrong; its text is one line that names the option or key and the value.
    """
    given = {name: value for name, value in flags.items() if value not in (None, (), [])}
    read = _read(scenario) if scenario is not None else {}
    if private and scenario is None:
        read = dict(FIRST_LOOK)
    try:
        return Plan(**{**read, **given})
    except ValidationError as error:
        raise LoadError(_one_line(error, given, scenario)) from None


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
    read.pop("about", None)  # What it is for, in words.
    return read


def _one_line(error: ValidationError, flags: dict[str, Any], scenario: Path | None) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"])
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
    # A union's branches are parts of the place too; only keys of the plan are of interest.
    name = names[0]
    where = f"--{name}" if name in flags else f"{scenario}: {'.'.join(names)}"
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such key"
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
