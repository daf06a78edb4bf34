"""Amounts as people write them."""

import pytest
from tallycast_load.plan import units


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.duration, "60s", 60.0),
        (units.duration, "250ms", 0.25),
        (units.duration, "2m", 120.0),
        (units.duration, 5, 5.0),
        (units.rate, "500/s", 500.0),
        (units.rate, "2k/s", 2000.0),
        (units.rate, "30/m", 0.5),
        (units.share, "1%", 0.01),
        (units.share, 0.000001, 0.000001),
        (units.count, "20k", 20_000),
        (units.count, "10_000", 10_000),
    ],
)
def test_amounts(read: object, text: object, value: float) -> None:
    assert read(text) == pytest.approx(value)  # type: ignore[operator]


@pytest.mark.parametrize("read", [units.duration, units.rate, units.share, units.count])
@pytest.mark.parametrize("wrong", ["", "x", "-1", "1 parsec", None, True, "1e3", "١"])
def test_what_is_no_amount(read: object, wrong: object) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        read(wrong)  # type: ignore[operator]
