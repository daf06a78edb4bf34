"""Options, scenarios, thresholds."""

from pathlib import Path

import pytest
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import make
from tallycast_load.plan.thresholds import Threshold


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("p99<50ms", 0.049, True),
        ("p99<50ms", 0.05, False),
        ("ack.max<=1s", 1.0, True),
        ("errors<1%", 0.02, False),
        ("p50<1s", None, False),
    ],
)
def test_thresholds(text: str, value: float | None, holds: bool) -> None:
    assert Threshold.parse(text).holds(value) is holds


def test_flags_win_over_the_scenario_and_it_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('about = "x"\nconnections = 7\nitems = 3\nthreshold = ["p99<1s"]\n')
    plan = make({"items": "9"}, file, private=True)
    assert (plan.connections, plan.items, plan.reactions) == (7, 9, 500.0)
    assert plan.visitor_count == 7
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"watch": "5", "items": "3"}, "watch: a connection cannot watch 5 of 3 items"),
        (
            {"visitors": "9", "connections": "8"},
            "visitors: expected at most one for each connection that reads, here 8",
        ),
        (
            {"transport": "sse", "watch": "101", "items": "200"},
            "watch: an event stream carries at most 100 items",
        ),
        ({"slow": "100%"}, "slow: expected at least one connection that reads"),
    ],
)
def test_what_does_not_fit_together(flags: dict[str, str], line: str) -> None:
    with pytest.raises(LoadError) as caught:
        make(flags, None, private=False)
    assert str(caught.value) == line
