"""The chart: a group of bars for each metric, as SVG or as a page with it.

Bars are medians, whiskers reach from the least to the greatest, a line marks an absolute budget, and at the
right is the ratio that has one. Colours follow the reader's light or dark setting. Does not depend on how
results were measured.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from bench.figures.base import Metric
from bench.results import FigureResult, Results
from bench.stats import Budget, Spread, Verdict, format_number, spread

SUFFIXES = (".svg", ".html")

WIDTH, LABEL, BAR, GAP, TITLE, MARGIN = 900, 200, 18, 6, 34, 24
MAX_BAR = WIDTH - LABEL - 190  # the rest is for numbers and budgets

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .dim { fill: #6e7781 }
.bar { fill: #8c959f } .ours { fill: #0969da } .whisker { stroke: #24292f }
.limit { stroke: #cf222e; stroke-dasharray: 4 3 }
.holds { fill: #1a7f37 } .missed { fill: #cf222e } .back { fill: #fff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .dim { fill: #8d96a0 } .bar { fill: #6e7681 } .ours { fill: #4493f8 }
.whisker { stroke: #e6edf3 } .holds { fill: #3fb950 } .missed { fill: #f85149 } .back { fill: #0d1117 } }
"""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<title>Tallycast: measured</title>
<style>body {{ max-width: 900px; margin: 2rem auto; font-family: system-ui }} svg {{ width: 100% }}</style>
<h1>Tallycast: measured</h1><p>{about}</p>{svg}</html>
"""


def write(results: Results, path: Path) -> None:
    """Write the chart; the suffix decides the format."""
    drawn = svg(results)
    if path.suffix == ".html":
        machine = ", ".join(
            str(results.machine[key]) for key in ("when", "processor", "python") if key in results.machine
        )
        drawn = _PAGE.format(
            about=escape(f"{machine}; median of {results.rounds} rounds; at the right what has a budget"),
            svg=drawn,
        )
    path.write_text(drawn)


def svg(results: Results) -> str:
    """Return the chart as SVG."""
    counts = results.count()
    heading = f"{counts[Verdict.HOLDS]} of {sum(counts.values())} budgets hold"
    top, parts = 2 * MARGIN, [_text(WIDTH - 8, 20, heading, "title", anchor="end")]
    for result in results.figures:
        for metric in result.figure.metrics:
            parts += list(_group(results, result, metric, top))
            top += TITLE + len(metric.rows) * (BAR + GAP) + MARGIN
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" '
        f'aria-label="Measurements of Tallycast and others"><style>{_STYLE}</style>'
        f'<rect class="back" width="{WIDTH}" height="{top}"/>\n{body}\n</svg>\n'
    )


def _group(results: Results, result: FigureResult, metric: Metric, top: int) -> Iterator[str]:
    spreads = {row: spread(values) for row, values in result.rows(metric).items()}
    most = max((measured.most for measured in spreads.values() if measured), default=0) or 1
    scale = MAX_BAR / most
    yield _text(8, top + 14, f"{results.title(metric)} ({metric.unit})", "title")
    verdicts = {judged[0].over or judged[0].of: judged for judged in result.verdicts(metric)}
    for place, (row, label) in enumerate(metric.rows.items()):
        y = top + TITLE + place * (BAR + GAP)
        yield _text(LABEL - 10, y + 13, label, anchor="end")
        measured = spreads[row]
        if measured is None:
            yield _text(LABEL, y + 13, result.reason(row) or "not measured", "dim")
        else:
            yield from _bar(measured, y, scale, row == metric.of)
        if row in verdicts:
            yield from _limit(*verdicts[row], y, scale)


def _limit(budget: Budget, verdict: Verdict, measured: Spread | None, y: int, scale: float) -> Iterator[str]:
    if measured is None:
        return
    mark = "✔" if verdict is Verdict.HOLDS else "✘"
    of = f"÷ it: {format_number(measured.median)} " if budget.over else ""
    yield _text(WIDTH - 8, y + 13, f"{of}≤ {budget.limit:g} {mark}", verdict.value, anchor="end")
    if budget.over is None and budget.limit * scale < MAX_BAR:
        yield f'<path class="limit" d="M{LABEL + budget.limit * scale:.1f} {y - 2}v{BAR + 4}"/>'


def _bar(measured: Spread, y: int, scale: float, ours: bool) -> Iterator[str]:
    width, middle = max(1.0, measured.median * scale), y + BAR / 2
    least, most = LABEL + measured.least * scale, LABEL + measured.most * scale
    kind = "ours" if ours else "bar"
    yield f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
    ends = f"M{least:.1f} {middle - 4}v8M{most:.1f} {middle - 4}v8"
    yield f'<path class="whisker" d="M{least:.1f} {middle}H{most:.1f}{ends}"/>'
    yield _text(max(most, LABEL + width) + 6, y + 13, format_number(measured.median), "dim")


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
