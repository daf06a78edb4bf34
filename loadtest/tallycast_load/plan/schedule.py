"""When everything is due: an open model, written down before anything is sent.

Pure. Reactions leave when they are due, whatever the server does: a server that stalls is then measured as a
client sees it, instead of being spared the load that it did not take (coordinated omission). The whole
timeline follows from the seed and is the same in every process, whatever their number.

Times are seconds since the start of the warm-up.
"""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import NamedTuple

from tallycast_load.plan.spread import Picker, Spread


class Stage(NamedTuple):
    """A stretch of time with one rate of reactions, from ``start`` to ``end``.

    ``number`` names what is measured together: 0 for the warm-up, which is not reported.
    """

    start: float
    end: float
    rate: float
    number: int


class Due(NamedTuple):
    """One reaction: when, by which visitor, to which item. ``chance`` (0 to 1) decides which one it is."""

    at: float
    visitor: int
    item: int
    chance: float
    stage: int


class Drop(NamedTuple):
    """A connection that goes and comes back; ``polite``: with a close frame."""

    at: float
    connection: int
    polite: bool


class Crowd(NamedTuple):
    """Who reacts to what: so many visitors, so many items, and how attention is spread."""

    visitors: int
    items: int
    spread: Spread


def steady(warmup: float, duration: float, rate: float) -> list[Stage]:
    """The warm-up, then one stage; both at the same rate."""
    stages = [Stage(0.0, warmup, rate, 0)] if warmup > 0 else []
    return [*stages, Stage(warmup, warmup + duration, rate, 1)]


def bursts(stages: list[Stage], every: float, length: float, rate: float) -> list[Stage]:
    """The same stages with a burst at the end of every period of ``every`` seconds, warm-up excepted."""
    cut: list[Stage] = []
    for stage in stages:
        if stage.number == 0:
            cut.append(stage)
            continue
        edges = [stage.start]
        while edges[-1] + every <= stage.end + 1e-9:
            edges += [edges[-1] + every - length, edges[-1] + every]
        edges.append(stage.end)
        for index, (start, end) in enumerate(pairwise(edges)):
            if end > start:
                cut.append(Stage(start, end, rate if index % 2 else stage.rate, stage.number))
    return cut


def steps(warmup: float, duration: float, rate: float, factor: float, every: float) -> list[Stage]:
    """A ladder: each stage ``factor`` times the rate of the one before, as many as fit."""
    stages = [Stage(0.0, warmup, rate, 0)] if warmup > 0 else []
    number, start = 1, warmup
    while start + every <= warmup + duration + 1e-9:
        stages.append(Stage(start, start + every, rate, number))
        number, start, rate = number + 1, start + every, rate * factor
    return stages


def reactions(stages: list[Stage], crowd: Crowd, seed: int, *, poisson: bool) -> Iterator[Due]:
    """Every reaction of the run, in the order of time."""
    chance = Random(f"{seed} reactions")  # noqa: S311  a timeline, not a secret
    pick = Picker(crowd.spread, crowd.items).one
    draw, gap = chance.random, chance.expovariate
    for stage in stages:
        if stage.rate <= 0:
            continue
        at, sent = stage.start, 0
        while True:
            if poisson:
                at += gap(stage.rate)
            else:
                at, sent = stage.start + sent / stage.rate, sent + 1
            if at >= stage.end:
                break
            yield Due(at, int(draw() * crowd.visitors), pick(draw()), draw(), stage.number)


def drops(connections: int, rate: float, end: float, storms: list[float], seed: int) -> Iterator[Drop]:
    """Churn at a rate, Poisson, half of it without a goodbye; and storms, in which everybody drops."""
    chance = Random(f"{seed} churn")  # noqa: S311
    waiting = sorted(storm for storm in storms if storm < end)
    at = chance.expovariate(rate) if rate > 0 else end
    while at < end or waiting:
        if waiting and waiting[0] <= at:
            storm = waiting.pop(0)
            yield from (Drop(storm, connection, False) for connection in range(connections))
            continue
        yield Drop(at, int(chance.random() * connections), chance.random() < 0.5)
        at += chance.expovariate(rate)


def watched(connection: int, number: int, picker: Picker, seed: int) -> list[int]:
    """The items that a connection watches: ``number`` different ones, by their popularity."""
    chance = Random(f"{seed} watches {connection}")  # noqa: S311
    return picker.several(number, chance.random)
