"""The options of the command: those of the plan, made from its fields, and those beside it.

Owns their metavars and how defaults are shown. Does not depend on how a plan is run.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tallycast_load.plan.plan import Plan, help_of

# The options of the plan, in the order of the help. The plan's other fields are keys of a scenario alone.
METAVARS = {
    "connections": "NUMBER",
    "items": "NUMBER",
    "watch": "NUMBER",
    "spread": "SPREAD",
    "reactions": "RATE",
    "arrivals": "poisson|fixed",
    "visitors": "NUMBER",
    "duration": "TIME",
    "warmup": "TIME",
    "ramp": "RATE",
    "protocol": "json|msgpack",
    "transport": "ws|sse",
    "processes": "NUMBER",
    "churn": "RATE",
    "slow": "SHARE",
    "threshold": "'p99<50ms'",
    "site": "NAME",
    "seed": "NUMBER",
}
DEFAULTS = {"visitors": "5000, or one for each connection", "processes": "auto", "threshold": "none"}

Url = Annotated[str | None, typer.Argument(metavar="URL", help="The server, such as https://tally.example.")]
Scenario = Annotated[
    Path | None,
    typer.Option(help="Read options from this file; the command line overrides it.", metavar="FILE.toml"),
]
TokenKey = Annotated[
    str | None,
    typer.Option(
        help="Sign the visitors' tokens with this key of the site (HS256); otherwise they are anonymous.",
        metavar="KEY",
        envvar="TALLYCAST_TOKEN_KEY",
        show_envvar=True,
    ),
]
MetricsUrl = Annotated[
    str | None, typer.Option(help="Show the server's Prometheus metrics in the report.", metavar="URL")
]
JsonFile = Annotated[Path | None, typer.Option(help="Write the whole result as JSON.", metavar="FILE")]
HtmlFile = Annotated[Path | None, typer.Option(help="Write an HTML report: one file.", metavar="FILE")]


def with_plan_options(run: Callable[..., int]) -> Callable[..., int]:
    """Make a command of ``run``: it gets the options of the plan as its first argument, a dictionary.

    ``run``'s first two parameters after that come before them in the help, the others after them.
    """

    def command(**values: Any) -> int:
        return run({name: values.pop(name) for name in METAVARS}, **values)

    _, url, scenario, *others = inspect.signature(run).parameters.values()
    plan = [_parameter(name, metavar) for name, metavar in METAVARS.items()]
    command.__signature__ = inspect.Signature([url, scenario, *plan, *others])  # type: ignore[attr-defined]
    return command


def _parameter(name: str, metavar: str) -> inspect.Parameter:
    kind: Any = list[str] | None if name == "threshold" else str | None
    default = DEFAULTS.get(name) or _shown(name, Plan.model_fields[name].default)
    option = typer.Option(
        f"--{name}", help=f"{help_of(name)} [dim]\\[{default}][/dim]", metavar=metavar, show_default=False
    )
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown(name: str, default: Any) -> str:
    if name in ("duration", "warmup"):
        return f"{default:g}s"
    if name in ("reactions", "ramp", "churn"):
        return f"{default:g}/s"
    return f"{default:.0%}" if name == "slow" else str(default)
