"""``tallycast load``: its help, and the call that follows from its options.

Owns the check for the packages of the extra ``load``. Does not depend on them: without them the other
commands work, and this one has its help.
"""

from importlib.util import find_spec
from typing import Any

from tallycast_load.cli.options import (
    HtmlFile,
    JsonFile,
    MetricsUrl,
    Scenario,
    TokenKey,
    Url,
    with_plan_options,
)
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import make

HELP = """
Put load on a server that implements the contract, measure latencies, and check that nothing was lost.

Without a URL it starts a private server on a free port, with a smaller load.

Exit status: 0 all checks passed and all thresholds held; 99 a threshold was missed; 3 a check failed; \
2 INVALID: the generator did not keep up; 1 it could not be run, or not be checked; 130 interrupted.
"""

EXAMPLES = """
[bold]Examples[/bold]

[cyan]tallycast load[/cyan]
[dim]a small load against a private server[/dim]

[cyan]tallycast load https://tally.example --connections 20k --reactions 1k/s --threshold 'p99<50ms'[/cyan]
[dim]the exit status says whether the threshold held[/dim]

[cyan]tallycast load https://tally.example --scenario examples/load/livestream.toml --html report.html[/cyan]
[dim]one hot item, and an HTML report[/dim]
"""

NOT_INSTALLED = "load: hdrhistogram is not installed: install the extra, pip install 'tallycast[load]'"


@with_plan_options
def load(
    flags: dict[str, Any],
    *,
    url: Url = None,
    scenario: Scenario = None,
    token_key: TokenKey = None,
    metrics: MetricsUrl = None,
    json: JsonFile = None,
    html: HtmlFile = None,
) -> int:
    """Load a server; the exit status."""
    if find_spec("hdrh") is None:
        raise LoadError(NOT_INSTALLED)
    from tallycast_load.cli.execution import execute

    plan = make(flags, scenario, private=url is None)
    return execute(plan, url, token_key, metrics, json, html)
