"""A run of the harness without its command."""

from typing import Any

from server.load.plan import make
from server.load.run import Result, Run
from server.load.target import Target
from server.load.totals import Moment, Totals
from server.load.verdict import Step


class Silent:
    """Nobody is told, but it is remembered which phases there were."""

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
