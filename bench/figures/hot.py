"""CPU time of fan-out on a hot item, at a hundred times the reactions.

At the low rate, fan-out is the worker's CPU time with all watchers minus that with none, which is the write
path. At the high rate that would hide most of it: with watchers the worker is busier, its batches are fuller,
and a reaction costs half of what it costs without watchers. There, all reactions to the watched item are
compared with as many reactions of which one in a hundred is to the watched item and the others to an
unwatched one: the same write path under the same load. The difference, added to the fan-out at the low rate,
is what the rate on the item costs.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST
from bench.errors import InvalidMeasurementError
from bench.figures.base import MEASURE, Figure, Metric, Sample, Scale, Steps
from bench.figures.rig import Rig, rig
from bench.stats import Budget
from bench.usage import cpu_used

SLOW, FAST = 100, 10_000  # reactions/s
WARM_UP = 0.5  # s
# How much longer than meant the reactions of a rate may take.
MAX_OVERRUN = 1.2


@dataclass(frozen=True)
class Usage:
    """The CPU time of the worker (ms), and the updates of each watcher, in a second."""

    cpu: float
    updates: float


def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
    """Measure both rates, without watchers and with them."""
    yield MEASURE
    with rig(contender, folder, scale.visitors) as bench:
        bench.exchange(scale.reactions, "bench", 2)
        slow_unwatched = _run(bench, scale, SLOW)
        fast_unwatched = _run(bench, scale, FAST)
        bench.open_watchers(scale.watchers)
        slow = _run(bench, scale, SLOW)
        mixed = _run(bench, scale, FAST, FAST // SLOW)
        fast = _run(bench, scale, FAST)
        bench.close_watchers()
    low = slow.cpu - slow_unwatched.cpu
    high = low * mixed.updates / slow.updates + fast.cpu - mixed.cpu
    sample = Sample({"fanout": {"slow": low, "fast": high}})
    for rate, unwatched, watched in ((SLOW, slow_unwatched, slow), (FAST, fast_unwatched, fast)):
        label = f"at {rate:,}/s: "
        sample.note("fanout", label + "{:.0f} ms of CPU a second in all", watched.cpu)
        sample.note("fanout", label + "{:.0f} updates a second for each watcher", watched.updates)
        sample.note("fanout", label + "{:.0f} ms/s without watchers", unwatched.cpu)
    label = f"at {FAST:,}/s, {SLOW} of them to the watched item: "
    sample.note("fanout", label + "{:.0f} ms/s", mixed.cpu)
    sample.note("fanout", label + "{:.0f} updates a second", mixed.updates)
    return sample


def _run(bench: Rig, scale: Scale, rate: int, one_in: int | None = None) -> Usage:
    """Run a rate; with ``one_in``, so many reactions include one to the watched item."""
    bench.react_at(rate, WARM_UP, "bench", one_in=one_in)
    bench.wait_until_idle()
    with cpu_used(bench.processes) as used:
        response = bench.react_at(rate, scale.hot_seconds, "bench", one_in=one_in)
    expected = int(rate * scale.hot_seconds)
    if response["replies"] != expected:
        raise InvalidMeasurementError(f"{response['replies']:,} of {expected:,} reactions were acknowledged")
    elapsed = max(scale.hot_seconds, response["elapsed"])
    if elapsed > scale.hot_seconds * MAX_OVERRUN:
        raise InvalidMeasurementError(
            f"{rate:,} reactions a second are too many here: "
            f"those of {scale.hot_seconds:g} s took {elapsed:.1f} s"
        )
    return Usage(used["server"] / elapsed * 1000, response["updates"] / scale.watchers / elapsed)


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
    (TALLYCAST,),
    measure,
)
