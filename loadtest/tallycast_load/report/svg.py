"""Line charts as inline SVG: axes, lines, bands and limits.

Pure. Colours are classes of the page's style sheet. Does not depend on what is drawn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 64, 104, 12, 30
LABEL_GAP = 15

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Scale:
    """An axis from ``least`` to ``most``, linear or logarithmic."""

    least: float
    most: float
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.logarithmic:
            low, high = math.log(self.least), math.log(self.most)
            return (math.log(max(value, self.least)) - low) / (high - low)
        return (value - self.least) / (self.most - self.least)

    def ticks(self, number: int = 5) -> list[float]:
        """Round values within it."""
        if self.logarithmic:
            return _decades(self.least, self.most)
        step = _round_step((self.most - self.least) / number)
        first = math.ceil(self.least / step - 1e-9)
        last = math.floor(self.most / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


@dataclass(frozen=True)
class Line:
    """One line, with its name at its end and its CSS class. A point without a value is a gap."""

    name: str
    style: str
    points: Sequence[Point]
    filled: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart. ``show_y`` and ``show_x`` format values; ``tips`` are shown on hover."""

    lines: Sequence[Line]
    x: Scale
    y: Scale
    show_y: Callable[[float], str]
    show_x: Callable[[float], str]
    label: str
    x_ticks: Sequence[float] | None = None
    bands: Sequence[tuple[float, float, str]] = ()
    limits: Sequence[tuple[float, str]] = ()
    tips: Sequence[tuple[float, str]] = field(default=())
    height: int = 250
    width: int = WIDTH
    right: int = RIGHT  # the width of the lines' names

    def svg(self) -> str:
        """The whole chart."""
        body = "".join([*self._bands(), *self._grid(), *self._limits(), *self._lines(), *self._tips()])
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return f'<svg {box} role="img" aria-label="{escape(self.label)}">{body}</svg>'

    def _x(self, value: float) -> float:
        return LEFT + self.x.part(value) * (self._end - LEFT)

    def _y(self, value: float) -> float:
        part = min(max(self.y.part(value), 0.0), 1.0)
        return TOP + (1 - part) * (self.height - TOP - BOTTOM)

    @property
    def _end(self) -> int:
        return self.width - self.right

    @property
    def _floor(self) -> int:
        return self.height - BOTTOM

    def _grid(self) -> Iterator[str]:
        for tick in self.y.ticks():
            y = self._y(tick)
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{self._end}"/>'
            yield _text(LEFT - 8, y + 4, self.show_y(tick), "axis", "end")
        yield f'<path class="axis-line" d="M{LEFT} {self._floor}H{self._end}"/>'
        for tick in self.x_ticks if self.x_ticks is not None else self.x.ticks(self.width // 100):
            yield _text(self._x(tick), self._floor + 20, self.show_x(tick), "axis", "middle")

    def _bands(self) -> Iterator[str]:
        for start, end, name in self.bands:
            x, width = self._x(start), self._x(end) - self._x(start)
            if width > 0:
                size = f'width="{width:.1f}" height="{self._floor - TOP}"'
                yield f'<rect class="band" x="{x:.1f}" y="{TOP}" {size}/>'
                if width > 7 * len(name):
                    yield _text(x + 6, TOP + 14, name, "band-name")

    def _limits(self) -> Iterator[str]:
        for value, name in self.limits:
            if self.y.least <= value <= self.y.most:
                y = self._y(value)
                yield f'<path class="limit" d="M{LEFT} {y:.1f}H{self._end}"/>'
                yield _text(self._end - 6, y - 5, name, "limit-name", "end")

    def _lines(self) -> Iterator[str]:
        for line in self.lines:
            runs = list(_runs(line.points))
            path = "".join(self._path(run) for run in runs)
            if line.filled:
                yield "".join(f'<path class="area {line.style}" d="{self._area(run)}"/>' for run in runs)
            dash = ' stroke-dasharray="3 4"' if line.dashed else ""
            yield f'<path class="line {line.style}" d="{path}"{dash}/>'
        yield from self._names()

    def _path(self, run: list[tuple[float, float]]) -> str:
        places = [f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in run]
        # A single point is a short dash, so that it is seen.
        return f"M{places[0]}h1.5" if len(places) == 1 else "M" + "L".join(places)

    def _area(self, run: list[tuple[float, float]]) -> str:
        first, last = self._x(run[0][0]), self._x(run[-1][0])
        return f"{self._path(run)}L{last:.1f} {self._floor}L{first:.1f} {self._floor}Z"

    def _names(self) -> Iterator[str]:
        """Names at the ends of the lines, moved apart where they would touch."""
        ends = []
        for line in self.lines:
            values = [y for _, y in line.points if y is not None]
            if values:
                ends.append((self._y(values[-1]), line))
        ends.sort(key=lambda end: end[0])
        places: list[float] = []
        for y, _ in ends:
            places.append(max(y, places[-1] + LABEL_GAP) if places else y)
        over = max(0.0, places[-1] - (self._floor - 2)) if places else 0.0
        for place, (_, line) in zip(places, ends, strict=True):
            yield _text(self._end + 8, place - over + 4, line.name, f"name {line.style}")

    def _tips(self) -> Iterator[str]:
        """Invisible columns with the text that is shown on hover."""
        for index, (x, text) in enumerate(self.tips):
            before = self.tips[index - 1][0] if index else x - 1
            after = self.tips[index + 1][0] if index + 1 < len(self.tips) else x + 1
            left, right = self._x((before + x) / 2), self._x((x + after) / 2)
            yield (
                f'<g class="tip"><rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
                f'height="{self._floor - TOP}"/><path d="M{self._x(x):.1f} {TOP}V{self._floor}"/>'
                f"<title>{escape(text)}</title></g>"
            )


def fitting(values: Sequence[float | None], *, logarithmic: bool = False) -> Scale:
    """A scale that fits all values."""
    found = [value for value in values if value is not None and value > 0]
    if not found:
        return Scale(0.001, 1.0, True) if logarithmic else Scale(0.0, 1.0)
    if not logarithmic:
        most = max(found) * 1.08
        step = _round_step(most / 5)
        return Scale(0.0, math.ceil(most / step - 1e-9) * step)
    least, most = min(found) / 1.3, max(found) * 1.3
    return Scale(least, max(most, least * 10), True)


def _runs(points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    """The points between gaps."""
    run: list[tuple[float, float]] = []
    for x, y in points:
        if y is None:
            if run:
                yield run
            run = []
        else:
            run.append((x, y))
    if run:
        yield run


def _round_step(step: float) -> float:
    """The next of 1, 2, 5, 10, 20 …"""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _decades(least: float, most: float) -> list[float]:
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    wide = math.log10(most / least) > 2.2
    factors = (1,) if wide else (1, 2, 5)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if least <= tick <= most]


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'
