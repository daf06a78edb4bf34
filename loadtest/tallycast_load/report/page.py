"""The result as an HTML page: one file without scripts or external resources.

Owns its layout, light and dark. Does not depend on how a run proceeds.
"""

from collections.abc import Iterable, Iterator
from html import escape

from tallycast.domain.printable import printable

from tallycast_load.coordinator.run import Result
from tallycast_load.plan import units
from tallycast_load.plan.thresholds import DISTRIBUTIONS, POINTS
from tallycast_load.report import charts, data, summary
from tallycast_load.report.style import STYLE
from tallycast_load.verdict.checks import Check
from tallycast_load.verdict.verdict import INVALID, PASSED

Row = Iterable[str]


def text(result: Result) -> str:
    """The whole page."""
    verdict = result.verdict
    status = {PASSED: "good", INVALID: "odd"}.get(verdict.status, "bad")
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(verdict.heading)} · Tallycast load test</title><style>{STYLE}</style></head><body>",
        f'<header class="{status}"><p class="kind">Tallycast load test'
        f"{' · partial report' if verdict.interrupted else ''}</p>",
        f'<h1><span class="badge">{escape(verdict.heading)}</span> {escape(summary.outcome(result))}</h1>',
        f'<p class="what"><b>{escape(printable(result.url))}</b><br>',
        f"{escape(summary.describe_plan(result))}</p></header><main>",
        *_advice(result),
        _cards(result),
        *_judgements(result),
        *_charts(result),
        *_details(result),
        "</main>",
        _footer(result),
        "</body></html>\n",
    ]
    return "".join(parts)


def _advice(result: Result) -> Iterator[str]:
    advice = summary.advice(result)
    if advice:
        title = "The generator did not keep up" if result.verdict.complaints else "Limits"
        lines = "".join(f"<li>{escape(line[0].upper() + line[1:])}." for line in advice)
        yield f'<section class="note"><h2>{title}</h2><ul>{lines}</ul></section>'


def _cards(result: Result) -> str:
    totals = result.totals
    running = [moment for moment in totals.moments if moment.phase == "running"]
    update, ack = totals.all("update"), totals.all("ack")
    seconds = result.measured or 1.0
    peak = max((moment.rates["updates"] for moment in running), default=0.0)
    mean = sum(moment.rates["updates"] for moment in running) / len(running) if running else 0.0
    acked, sent = totals.count("acked"), totals.count("sent")
    measured = ack.count
    return (
        '<section class="cards">'
        + _card("to others, median", _time(update.at(50.0)), f"p99 {_time(update.at(99.0))}")
        + _card("to the ack, median", _time(ack.at(50.0)), f"p99 {_time(ack.at(99.0))}")
        + _card(
            "reactions", f"{units.show_count(measured / seconds)}/s", f"{acked:,} of {sent:,} acknowledged"
        )
        + _card("updates received", f"{units.show_count(mean)}/s", f"at most {units.show_count(peak)}/s")
        + _card("connections", f"{max((m.up for m in totals.moments), default=0):,}", _connected(result))
        + "</section>"
    )


def _connected(result: Result) -> str:
    back = result.totals.count("reconnects")
    took = f"median {_time(result.totals.all('connect').at(50.0))} to show"
    return f"{back:,} reconnects" if back else took


def _card(name: str, value: str, more: str) -> str:
    return f"<div><p>{escape(name)}</p><b>{escape(value)}</b><p>{escape(more)}</p></div>"


def _judgements(result: Result) -> Iterator[str]:
    verdict = result.verdict
    if verdict.checks:
        rows = [
            [_mark(check.passed), f"<b>{escape(check.name)}</b>", escape(check.promise), _found(check)]
            for check in verdict.checks
        ]
        yield _section("Checks", _table(("", "check", "promise", "found"), rows))
    if verdict.steps:
        limits = [one.threshold.text for one in verdict.steps[0].threshold_results]
        rows = [
            [
                _mark(step.passed),
                f"<b>{units.show_count(step.rate)}/s</b>",
                *(escape(one.threshold.shown(one.value)) for one in step.threshold_results),
                units.show_share(step.late / step.due) if step.due else "–",
            ]
            for step in verdict.steps
        ]
        yield _section("Steps", _table(("", "reactions", *limits, "sent late"), rows))
    elif verdict.threshold_results:
        rows = [
            [
                _mark(one.holds),
                f"<b>{escape(one.threshold.text)}</b>",
                escape(one.threshold.shown(one.value)),
            ]
            for one in verdict.threshold_results
        ]
        yield _section("Thresholds", _table(("", "threshold", "measured"), rows))


def _found(check: Check) -> str:
    details = (f"<small>{escape(printable(one))}</small>" for one in check.details)
    return "<br>".join([escape(printable(check.found)), *details])


def _charts(result: Result) -> Iterator[str]:
    for title, about, chart in charts.all_of(result):
        yield _section(title, f'<p class="about">{escape(about)}</p><figure>{chart.svg()}</figure>')
    small = list(charts.metrics(result))
    if small:
        figures = "".join(
            f'<figure class="small"><figcaption><b>{escape(name)}</b> {escape(now)}</figcaption>'
            f"{svg}</figure>"
            for name, now, svg in small
        )
        yield _section("The server's own metrics", f'<div class="grid-of">{figures}</div>')


def _details(result: Result) -> Iterator[str]:
    rows: list[Row] = []
    for name in DISTRIBUTIONS:
        latencies = result.totals.all(name)
        points = [_time(value) for value in latencies.points(POINTS).values()]
        explained = f"{summary.TITLES[name]}<br><small>{summary.EXPLAINED[name]}</small>"
        rows.append([explained, *points, f"{latencies.count:,}"])
    heads = ("from → to", *POINTS, "measured")
    yield _section("Latencies", _table(heads, rows, numbers=True))
    yield '<div class="two">'
    yield _section("Counted", _pairs(summary.counts(result)))
    yield _section("Generator", _pairs(summary.generator(result)))
    yield "</div>"


def _footer(result: Result) -> str:
    about = {name: escape(str(value)) for name, value in data.about(result).items()}
    return (
        "<footer><p>Reactions were sent on a schedule, whatever the server did, and every latency counts "
        "from when its reaction or connection was due: a server that stalls is measured as visitors would "
        "have experienced it. Frames count when the harness reads them, so its own delays are included.</p>"
        f"<p>{about['begun']} · tallycast {about['tallycast']} · seed {result.plan.seed} · "
        f"{about['cores']} cores, {about['system']}, Python {about['python']}</p></footer>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(heads: Row, rows: Iterable[Row], *, numbers: bool = False) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{"numbers" if numbers else ""}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in rows) + "</dl>"


def _mark(good: bool | None) -> str:
    if good is None:
        return '<span class="mark odd">?</span>'
    return f'<span class="mark {"good" if good else "bad"}">{"PASS" if good else "FAIL"}</span>'


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else units.show_time(seconds)
