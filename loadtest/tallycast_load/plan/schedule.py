"""The schedule: when each reaction and each dropped connection is due.

Pure. An open model: reactions are sent when they are due, whatever the server does, so that a server that
stalls is measured as a client experiences it (no coordinated omission). The whole schedule follows from the
seed and is the same in every process, whatever their number.

Times are seconds since the start of the warm-up.
"""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import NamedTuple

from tallycast_load.plan.spread import Picker, Spread


class Stage(NamedTuple):
    """A span of time with one rate of reactions, from ``start`` to ``end``.

    Stages with the same ``number`` are measured together; 0 is the warm-up, which is not reported.
    """

    start: float
    end: float
    rate: float
    number: int


class DueReaction(NamedTuple):
    """One reaction: when, by which visitor, to which item. ``chance`` (0 to 1) decides which one it is."""

    at: float
    visitor: int
    item: int
    chance: float
    stage: int


class Drop(NamedTuple):
    """A connection to drop and reopen; ``clean``: with a close frame."""

    at: float
    connection: int
    clean: bool


class Population(NamedTuple):
    """The visitors and items, by number, and the distribution of reactions over the items."""

    visitors: int
    items: int
    spread: Spread


def steady(warmup: float, duration: float, rate: float) -> list[Stage]:
    """The warm-up, then one stage; both at the same rate."""
    stages = [Stage(0.0, warmup, rate, 0)] if warmup > 0 else []
    return [*stages, Stage(warmup, warmup + duration, rate, 1)]


def bursts(stages: list[Stage], every: float, length: float, rate: float) -> list[Stage]:
    """The same stages with a burst at the end of every period of ``every`` seconds, warm-up excepted."""
    divided: list[Stage] = []
    for stage in stages:
        if stage.number == 0:
            divided.append(stage)
            continue
        edges = [stage.start]
        while edges[-1] + every <= stage.end + 1e-9:
            edges += [edges[-1] + every - length, edges[-1] + every]
        edges.append(stage.end)
        for index, (start, end) in enumerate(pairwise(edges)):
            if end > start:
                divided.append(Stage(start, end, rate if index % 2 else stage.rate, stage.number))
    return divided


def steps(warmup: float, duration: float, rate: float, factor: float, every: float) -> list[Stage]:
    """Stages of which each has ``factor`` times the rate of the one before, as many as fit."""
    stages = [Stage(0.0, warmup, rate, 0)] if warmup > 0 else []
    number, start = 1, warmup
    while start + every <= warmup + duration + 1e-9:
        stages.append(Stage(start, start + every, rate, number))
        number, start, rate = number + 1, start + every, rate * factor
    return stages


def reactions(
    stages: list[Stage], population: Population, seed: int, *, poisson: bool
) -> Iterator[DueReaction]:
    """Every reaction of the run, ordered by time."""
    chance = Random(f"{seed} reactions")  # noqa: S311  a schedule, not a secret
    pick = Picker(population.spread, population.items).pick
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
            yield DueReaction(at, int(draw() * population.visitors), pick(draw()), draw(), stage.number)


def drops(connections: int, rate: float, end: float, storms: list[float], seed: int) -> Iterator[Drop]:
    """Churn at a rate (Poisson), half of it without a close frame, and storms that drop every connection."""
    chance = Random(f"{seed} churn")  # noqa: S311
    remaining = sorted(storm for storm in storms if storm < end)
    at = chance.expovariate(rate) if rate > 0 else end
    while at < end or remaining:
        if remaining and remaining[0] <= at:
            storm = remaining.pop(0)
            yield from (Drop(storm, connection, False) for connection in range(connections))
            continue
        yield Drop(at, int(chance.random() * connections), chance.random() < 0.5)
        at += chance.expovariate(rate)


def watched(connection: int, number: int, picker: Picker, seed: int) -> list[int]:
    """The items that a connection watches: ``number`` different ones, by their popularity."""
    chance = Random(f"{seed} watches {connection}")  # noqa: S311
    return picker.sample(number, chance.random)
