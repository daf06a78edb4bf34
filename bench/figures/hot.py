"""The hot item: what fan-out costs at a hundred times the reactions.

At the low rate, fan-out is the worker's CPU with all watchers less its CPU with none, which is the write
path. At the high rate that would flatter: with watchers the worker is busier, its batches are fuller, and a
reaction costs half of what it costs with nobody watching, so that the subtraction would hide most of the
fan-out. There, all reactions to the watched item are compared with as many of which only one in a hundred
is to the watched item and the others to one that nobody watches: the same write path under the same load.
The difference is what the heat of the item costs, on top of the fan-out at the low rate.
"""

from pathlib import Path

from bench.contenders.base import Contender, Running
from bench.contenders.ours import OURS, react
from bench.errors import Wrong
from bench.figures.base import (
    MEASURE,
    Figure,
    Metric,
    Sample,
    Scale,
    Steps,
    exchange,
    open_senders,
    open_watchers,
)
from bench.load import WATCHERS, Load
from bench.stats import Budget
from bench.usage import metered, settle

SLOW, FAST = 100, 10_000
WARM = 0.5
# How much longer than meant a rate may take, and still be called that rate.
LATE = 1.2


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Both rates, without watchers and with them."""
    yield MEASURE
    with contender.start(folder, scale.visitors) as running, Load(running.port) as load:
        open_senders(load, contender, running, scale.visitors)
        exchange(load, contender.dialect, scale.reactions, react("bench"), 2)

        def run(rate: int, rare: int | None = None) -> tuple[float, float]:
            return _run(load, contender, running, scale, rate, rare)

        slow_path, _ = run(SLOW)
        fast_path, _ = run(FAST)
        open_watchers(load, contender.dialect, scale.watchers)
        slow, slow_updates = run(SLOW)
        mixed, mixed_updates = run(FAST, FAST // SLOW)
        hot, hot_updates = run(FAST)
        load.close(WATCHERS)
    low = slow - slow_path
    high = low * mixed_updates / slow_updates + hot - mixed
    sample = Sample({"fanout": {"slow": low, "fast": high}})
    for rate, nobody, everybody, updates in (
        (SLOW, slow_path, slow, slow_updates),
        (FAST, fast_path, hot, hot_updates),
    ):
        label = f"at {rate:,}/s: "
        sample.note("fanout", label + "{:.0f} ms of CPU a second in all", everybody)
        sample.note("fanout", label + "{:.0f} updates a second for each watcher", updates)
        sample.note("fanout", label + "{:.0f} ms/s with nobody watching", nobody)
    label = f"at {FAST:,}/s, {SLOW} of them to the watched item: "
    sample.note("fanout", label + "{:.0f} ms/s", mixed)
    sample.note("fanout", label + "{:.0f} updates a second", mixed_updates)
    return sample


def _run(
    load: Load, contender: Contender, running: Running, scale: Scale, rate: int, rare: int | None
) -> tuple[float, float]:
    """Milliseconds of the worker's CPU, and updates for each watcher, in a second."""
    words = {
        "rate": rate,
        "rare": rare,
        "message": react("bench"),
        "reply": contender.dialect.reply,
        "update": contender.dialect.match,
    }
    load.tell("rate", seconds=WARM, **words)
    settle(running.processes)
    with metered(running.processes) as used:
        answer = load.tell("rate", seconds=scale.heat, **words)
    if answer["replies"] != int(rate * scale.heat):
        raise Wrong(f"{answer['replies']:,} of {int(rate * scale.heat):,} reactions were acknowledged")
    took = max(scale.heat, answer["sending"])
    if took > scale.heat * LATE:
        raise Wrong(
            f"{rate:,} reactions a second are too many here: those of {scale.heat:g} s took {took:.1f} s"
        )
    return used["server"] / took * 1000, answer["matched"] / scale.watchers / took


FIGURE = Figure(
    "hot",
    (
        Metric(
            "fanout",
            "hot item, {watchers:,} watchers: fan-out CPU of the worker",
            "hot item",
            "ms/s",
            {"slow": f"{SLOW:,} reactions/s", "fast": f"{FAST:,} reactions/s"},
            (Budget(1.3, of="fast", over="slow"),),
            of="fast",
        ),
    ),
    (OURS,),
    measure,
)
