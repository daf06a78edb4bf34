"""Amounts with units, parsed and formatted: ``500/s``, ``50ms``, ``1%``, ``10k``.

Pure. Every parser takes text or a plain number and raises ``ValueError`` for anything else.
"""

import math
import re

_NUMBER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMES = {"": 1, "k": 1000, "m": 1_000_000}
_DURATION = re.compile(rf"{_NUMBER}\s*(us|µs|ms|s|m|h)?")
_RATE = re.compile(rf"{_NUMBER}(k?)\s*(?:/\s*(s|m|h))?")
_SHARE = re.compile(rf"{_NUMBER}\s*(%)?")
_COUNT = re.compile(rf"{_NUMBER}(k|m)?", re.IGNORECASE)


def duration(value: object) -> float:
    """Parse a duration. Returns seconds; so is a number without a unit."""
    found = _match(_DURATION, value)
    return float(found[1]) * _SECONDS[found[2] or "s"]


def rate(value: object) -> float:
    """Parse a rate. Returns events per second; so is a number without a unit."""
    found = _match(_RATE, value)
    return float(found[1]) * _TIMES[found[2]] / _SECONDS[found[3] or "s"]


def share(value: object) -> float:
    """Parse a share, ``1%`` or ``0.01``. Returns a number from 0 to 1."""
    found = _match(_SHARE, value)
    part = float(found[1]) / (100 if found[2] else 1)
    if part > 1:
        raise ValueError("more than all")
    return part


def count(value: object) -> int:
    """Parse a whole number; ``10k`` is ten thousand."""
    found = _match(_COUNT, value)
    number = float(found[1]) * _TIMES[(found[2] or "").lower()]
    if number != int(number):
        raise ValueError("not a whole number")
    return int(number)


def _match(pattern: re.Pattern[str], value: object) -> re.Match[str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not an amount")
    # repr of a very small float would be in scientific notation.
    text = value if isinstance(value, str) else f"{value:.9f}".rstrip("0").rstrip(".")
    found = pattern.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if found is None:
        raise ValueError("not an amount")
    return found


def show_time(seconds: float) -> str:
    """Format a latency with three significant digits: ``950 µs``, ``12.3 ms``, ``1.5 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{_digits(seconds * 1e3)} ms"
    return f"{_digits(seconds)} s"


def show_round_time(seconds: float) -> str:
    """Format a round latency, as on an axis: ``50 ms``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:g} µs"
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def show_span(seconds: float) -> str:
    """Format a duration: ``45 s``, ``2 m 5 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if rest else f"{minutes} m"


def show_count(number: float) -> str:
    """Format a count or a rate, with separators."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def show_share(part: float) -> str:
    """Format a share as a percentage, never rounded down to 0."""
    if 0 < part < 0.0001:
        return "<0.01 %"
    return f"{part * 100:.2f} %" if part < 0.1 else f"{part * 100:.0f} %"


def show_bytes(number: float) -> str:
    """Format an amount of memory."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.3g} GiB"


def _digits(value: float) -> str:
    whole = 1 if value <= 0 else math.floor(math.log10(value)) + 1
    return f"{value:.{max(0, 3 - whole)}f}"


def show_amount(number: float) -> str:
    """Format any number briefly: ``1.2k``, ``3.4M``."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"
