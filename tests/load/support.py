"""A run of the harness without its command."""

from typing import Any

from tallycast_load.client.codec import CODECS
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import ConnectionContext
from tallycast_load.coordinator.run import Result, Run
from tallycast_load.measure.updates import UpdateLatencies
from tallycast_load.measure.violations import Violations
from tallycast_load.plan.plan import make
from tallycast_load.verdict.totals import Moment, Totals
from tallycast_load.verdict.verdict import Step


def make_context(
    found: Violations, items: list[str], uri: str = "ws://127.0.0.1:9/ws", **callbacks: Any
) -> ConnectionContext:
    """A context whose callbacks do nothing."""
    ignored = {name: lambda *_: None for name in ("on_ready", "on_lost", "on_ack", "on_error")}
    update_latencies = UpdateLatencies(lambda _stage, _ns, _weight: None, lambda: None)
    shared = {"site": "default", "codec": CODECS["json"], "update_latencies": update_latencies}
    return ConnectionContext(uri=uri, items=items, violations=found, **{**shared, **ignored, **callbacks})  # type: ignore[arg-type]


class Silent:
    """Reports nothing, but remembers which phases there were."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, name: str, seconds: float | None) -> None:
        self.phases.append(name)

    def progress(self, done: float, whole: float) -> None: ...

    def moment(self, moment: Moment, totals: Totals) -> None: ...

    def step(self, step: Step) -> None: ...

    def close(self) -> None: ...


async def harness(url: str, token_key: str | None = None, **flags: Any) -> Result:
    """A whole run against ``url`` with these options."""
    plan = make(flags, None, private=False)
    return await Run(plan, Target.parse(url), Silent(), token_key, None).execute()
