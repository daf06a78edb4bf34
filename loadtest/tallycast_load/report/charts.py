"""The charts of a run: latencies, rates, connections, the generator, the server's metrics.

Owns the choice of lines and scales. Does not depend on SVG.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import log10
from typing import Any

from tallycast_load.client.metrics import Series
from tallycast_load.coordinator.run import Result
from tallycast_load.plan import units
from tallycast_load.report.svg import Chart, Line, Point, Scale, fitting
from tallycast_load.verdict.totals import Moment

Drawn = tuple[str, str, Chart]
# Metrics of the process or the language, not of the server's work.
IGNORED = ("python_", "process_virtual", "process_start", "process_max")


def all_of(result: Result) -> Iterator[Drawn]:
    """Title, explanation and chart of everything that was measured."""
    moments = _from_warm_up(result)
    if len(moments) >= 2:
        yield from _latency(result, moments)
    yield from _distribution(result)
    if len(moments) >= 2:
        yield from _rates(result, moments)
        yield _connections(result)
        yield _generator(result, moments)


def metrics(result: Result) -> Iterator[tuple[str, str, str]]:
    """Name, latest value and a small chart of each of the server's own metrics that ever changed."""
    every = result.metrics.series if result.metrics is not None else {}
    for series in every.values():
        name, unit, points = _shown_as(series, every)
        values = [value for _, value in points if value is not None]
        if series.name.startswith(IGNORED) or len(points) < 2 or len(set(values)) < 2:
            continue
        x, y = Scale(points[0][0], points[-1][0]), fitting(values)
        chart = Chart(
            [Line("", "four", points, filled=True)],
            x,
            y,
            units.show_amount,
            lambda at: f"{at:g}",
            name,
            width=430,
            right=12,
            height=150,
        )
        yield name, f"at most {units.show_amount(max(values))}{unit}", chart.svg()


def _from_warm_up(result: Result) -> list[Moment]:
    return [moment for moment in result.totals.moments if moment.phase in ("warming up", "running")]


def _time_axis(result: Result, moments: list[Moment]) -> tuple[Scale, list[tuple[float, float, str]]]:
    warmup = result.plan.warmup
    start, end = moments[0].at, max(moments[-1].at, moments[0].at + 1)
    return Scale(start, end), [(start, min(warmup, end), "warm-up")] if start < warmup else []


def _over_time(
    result: Result,
    moments: list[Moment],
    lines: list[Line],
    y: Scale,
    *,
    show_y: Callable[[float], str],
    label: str,
    **options: Any,
) -> Chart:
    x, bands = _time_axis(result, moments)
    return Chart(lines, x, y, show_y, lambda at: f"{at:g} s", label, bands=bands, **options)


def _latency(result: Result, moments: list[Moment]) -> Iterator[Drawn]:
    for name, title, about in (
        (
            "update",
            "Reaction → others",
            "As other visitors received it, second by second: from when a reaction was due.",
        ),
        ("ack", "Reaction → ack", "As the visitor that reacted received it, second by second."),
    ):
        values = [point for moment in moments for point in moment.latencies[name].values()]
        if not any(values):
            continue
        limits = [(one.limit, one.text) for one in result.plan.threshold if one.distribution == name]
        y = fitting([*values, *(limit for limit, _ in limits)], logarithmic=True)
        lines = [
            Line(point, style, [(moment.at, moment.latencies[name][point]) for moment in moments])
            for point, style in (("max", "quiet"), ("p99", "two"), ("p50", "one"))
        ]
        tips = [(moment.at, _tip(moment, name)) for moment in moments]
        chart = _over_time(
            result, moments, lines, y, show_y=units.show_round_time, label=title, limits=limits, tips=tips
        )
        yield title, about, chart


def _tip(moment: Moment, name: str) -> str:
    points = moment.latencies[name]
    lines = [f"{key} {units.show_time(value) if value is not None else '–'}" for key, value in points.items()]
    return f"{moment.at:.0f} s\n" + "\n".join(lines)


def _distribution(result: Result) -> Iterator[Drawn]:
    """Percentiles on an axis of nines."""
    lines, values, furthest = [], [], 1.0
    for name, label, style in (
        ("update", "others", "one"),
        ("ack", "ack", "two"),
        ("connect", "connect", "quiet"),
    ):
        curve = result.totals.all(name).curve()
        if len(curve) > 1:
            points: list[Point] = [(_nines(percentile), seconds) for percentile, seconds in curve]
            furthest = max(furthest, points[-1][0])
            values += [seconds for _, seconds in curve]
            lines.append(Line(label, style, points))
    if lines:
        ticks = [tick for tick in (0.0, *map(_nines, (50, 90, 99, 99.9, 99.99, 99.999))) if tick <= furthest]
        yield (
            "Percentiles",
            "How many were how fast: at 99 %, one in a hundred took longer. Each step to the right is a "
            "tenth of the one before.",
            Chart(
                lines,
                Scale(0.0, furthest),
                fitting(values, logarithmic=True),
                units.show_round_time,
                lambda place: f"{100 - 100 / 10**place:.6g} %",
                "Percentiles",
                x_ticks=ticks,
            ),
        )


def _nines(percentile: float) -> float:
    return -log10(1 - percentile / 100)


def _rates(result: Result, moments: list[Moment]) -> Iterator[Drawn]:
    def line(name: str, label: str, style: str, **how: bool) -> Line:
        return Line(label, style, [(moment.at, moment.rates[name]) for moment in moments], **how)

    lines = [
        Line("due", "quiet", [(moment.at, moment.target) for moment in moments], dashed=True),
        line("sent", "sent", "one"),
        line("acked", "acked", "two"),
    ]
    if result.totals.counted("refused"):
        lines.append(line("refused", "refused", "three"))
    values = [y for one in lines for _, y in one.points]
    chart = _over_time(
        result,
        moments,
        lines,
        fitting(values),
        show_y=lambda rate: f"{rate:,.0f}/s",
        label="Reactions per second",
    )
    yield "Reactions", "Due by the schedule, sent, and acknowledged, per second.", chart
    updates = [line("updates", "received", "four", filled=True)]
    chart = _over_time(
        result,
        moments,
        updates,
        fitting([moment.rates["updates"] for moment in moments]),
        show_y=lambda rate: f"{rate:,.0f}/s",
        label="Updates per second",
        height=190,
    )
    yield "Updates", "Frames with new counts that all watchers together received, per second.", chart


def _connections(result: Result) -> Drawn:
    # Seconds since the start of the warm-up: a run that was interrupted before has none.
    moments = result.totals.moments
    start = result.start / 1e9 or moments[0].clock
    points: list[Point] = [(moment.clock - start, float(moment.up)) for moment in moments]
    chart = Chart(
        [Line("up", "four", points, filled=True)],
        Scale(points[0][0], max(points[-1][0], points[0][0] + 1)),
        fitting([up for _, up in points]),
        lambda number: f"{number:,.0f}",
        lambda at: f"{at:g} s",
        "Connections",
        height=190,
    )
    return "Connections", "Connections that show their items; zero is the start of the warm-up.", chart


def _generator(result: Result, moments: list[Moment]) -> Drawn:
    lines = [
        Line(
            f"cpu {number + 1}" if result.processes > 1 else "cpu",
            "one",
            [(moment.at, moment.cpu[number] if number < len(moment.cpu) else None) for moment in moments],
        )
        for number in range(result.processes)
    ]
    lines.append(Line("late", "two", [(moment.at, moment.late) for moment in moments]))
    chart = _over_time(
        result,
        moments,
        lines,
        Scale(0.0, max(1.0, *(y or 0.0 for line in lines for _, y in line.points))),
        show_y=lambda share: f"{share:.0%}",
        label="Generator",
        height=190,
    )
    about = (
        "The harness itself: the share of a core that each of its processes used, and of reactions that were "
        "sent more than 10 ms late. Near the top it measures itself."
    )
    return "Generator", about, chart


def _shown_as(series: Series, every: Mapping[str, Series]) -> tuple[str, str, list[Point]]:
    """Name, unit and points: the value of a gauge, the rate of a counter, the mean of a histogram."""
    whole = every.get(f"{series.name.removesuffix('_sum')}_count")
    if whole is not None and series.name.endswith("_sum"):
        increases, number = dict(_increases(series)), dict(_increases(whole))
        means = {at: increases[at] / number[at] for at in increases if number.get(at)}
        return f"{series.name.removesuffix('_sum')}, mean", "", list(means.items())
    if series.counter:
        spans = {at: at - before for (before, _), (at, _) in pairwise(series.values)}
        return series.name, "/s", [(at, more / spans[at]) for at, more in _increases(series)]
    return series.name, "", list(series.values)


def _increases(series: Series) -> list[tuple[float, float]]:
    """The increase of a counter between two scrapes; 0 where it was reset."""
    scrapes = pairwise(series.values)
    return [(at, max(0.0, most - least)) for (before, least), (at, most) in scrapes if at > before]
