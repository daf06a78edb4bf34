"""The spread over items, and when everything is due."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast_load.plan import schedule
from tallycast_load.plan.schedule import Stage, drops
from tallycast_load.plan.spread import Picker, Spread


@pytest.mark.parametrize("text", ["uniform", "zipf:1.1", "zipf:0", "hot:0.9", "hot:1"])
def test_weights_sum_to_one_and_never_rise(text: str) -> None:
    weights = Spread.parse(text).weights(50)
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    assert str(Spread.parse(text)) == text


def test_the_hot_item_gets_its_share() -> None:
    pick, chance = Picker(Spread("hot", 0.9), 10).pick, random.Random(1)
    found = Counter(pick(chance.random()) for _ in range(20_000))
    assert found[0] / 20_000 == pytest.approx(0.9, abs=0.01)
    assert found.keys() == set(range(10))


@given(st.integers(1, 40), st.integers(1, 40), st.integers())
def test_several_are_different(items: int, number: int, seed: int) -> None:
    found = Picker(Spread("hot", 1.0), items).sample(number, random.Random(seed).random)
    assert len(found) == len(set(found)) == min(items, number)


def test_fixed_reactions_are_evenly_spaced_and_the_same_for_the_same_seed() -> None:
    population = schedule.Population(10, 5, Spread("uniform"))
    stages = schedule.steady(1.0, 2.0, 100.0)
    once = list(schedule.reactions(stages, population, 1, poisson=False))
    assert once == list(schedule.reactions(stages, population, 1, poisson=False))
    assert once != list(schedule.reactions(stages, population, 2, poisson=False))
    assert [due.at for due in once] == pytest.approx([number / 100 for number in range(300)])
    assert Counter(due.stage for due in once) == {0: 100, 1: 200}


def test_poisson_keeps_the_rate() -> None:
    population = schedule.Population(10, 5, Spread("uniform"))
    dues = list(schedule.reactions([Stage(0, 100, 50, 1)], population, 1, poisson=True))
    assert len(dues) == pytest.approx(5000, rel=0.05)
    assert [due.at for due in dues] == sorted(due.at for due in dues)


def test_bursts_lie_at_the_end_of_each_period() -> None:
    stages = schedule.bursts(schedule.steady(2.0, 25.0, 10.0), 10.0, 1.0, 500.0)
    assert [(stage.start, stage.end) for stage in stages if stage.rate == 500.0] == [(11, 12), (21, 22)]
    assert sum(stage.end - stage.start for stage in stages) == pytest.approx(27.0)


def test_steps_climb_while_they_fit() -> None:
    stages = schedule.steps(5.0, 25.0, 100.0, 2.0, 10.0)
    assert [(stage.number, stage.rate) for stage in stages] == [(0, 100.0), (1, 100.0), (2, 200.0)]


def test_everybody_drops_in_a_storm() -> None:
    drops = list(schedule.drops(20, 0.0, 30.0, [10.0, 99.0], 1))
    assert [(drop.at, drop.connection) for drop in drops] == [(10.0, number) for number in range(20)]
    churn = list(schedule.drops(20, 5.0, 30.0, [10.0], 1))
    assert [drop.at for drop in churn] == sorted(drop.at for drop in churn)
    assert len(churn) == pytest.approx(170, abs=40)


def test_half_of_the_readers_that_come_and_go_close() -> None:
    clean = [drop.clean for drop in drops(20, 100.0, 30.0, [], 1)]
    assert sum(clean) / len(clean) == pytest.approx(0.5, abs=0.05)
