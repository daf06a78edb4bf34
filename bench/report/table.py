"""The tables on the terminal: values, ratios, and budgets with a mark for each that holds or is missed.

Fits into 80 columns. Does not depend on how results were measured.
"""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.figures.base import Metric
from bench.results import FigureResult, Results
from bench.stats import Budget, Spread, Verdict, format_number, ratios, spread

MARKS = {
    Verdict.HOLDS: Text("✔ holds", "bold green"),
    Verdict.MISSED: Text("✘ MISSED", "bold red"),
    Verdict.UNKNOWN: Text("? unknown", "bold yellow"),
}


def show(console: Console, results: Results, result: FigureResult) -> None:
    """Print all tables of one figure."""
    for metric in result.figure.metrics:
        console.print(block(results, result, metric))


def block(results: Results, result: FigureResult, metric: Metric) -> RenderableType:
    """Return the table of a metric: a row for each contender, with the budget of the comparison."""
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column(metric.unit, justify="right", no_wrap=True)
    table.add_column(f"{_short(metric)} ÷ it" if metric.ratios else "", justify="right", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    rows = result.rows(metric)
    verdicts = {budget.over or budget.of: (budget, verdict) for budget, verdict, _ in result.verdicts(metric)}
    for row, label in metric.rows.items():
        ratio = Text()
        if metric.ratios and row != metric.of:
            ratio = _cell(spread(ratios(rows[metric.of], rows[row])), "×")
        name = Text(label, "bold cyan" if row == metric.of else "")
        table.add_row(name, _cell(spread(rows[row])), ratio, _budget(verdicts.get(row)))
    lines = [Text(line, "yellow") for line in _failures(result, metric)]
    lines += [Text(line, "dim") for line in result.notes(metric)]
    title = Text(results.title(metric), "bold")
    return Group(title, table, *(Padding(line, (0, 0, 0, 2)) for line in lines), "")


def summary(results: Results) -> RenderableType:
    """Return the table of all budgets, with how many hold."""
    table = _table()
    table.add_column("")
    table.add_column("median (least–most)", justify="right", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    for result in results.figures:
        for metric in result.figure.metrics:
            for budget, verdict, measured in result.verdicts(metric):
                unit = "×" if budget.over else f" {metric.unit}".rstrip()
                name = f"{metric.short}: {_against(budget, metric)}"
                table.add_row(name, _cell(measured, unit), _budget((budget, verdict)))
    counts = results.count()
    line = Text(f"{counts[Verdict.HOLDS]} of {sum(counts.values())} budgets hold", "bold")
    if counts[Verdict.MISSED]:
        line.append(f", {counts[Verdict.MISSED]} missed", "bold red")
    if counts[Verdict.UNKNOWN]:
        line.append(f", {counts[Verdict.UNKNOWN]} not measured", "bold yellow")
    return Group(
        Text("Budgets", "bold"), table, line, *(Text(remark, "yellow") for remark in results.remarks)
    )


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _failures(result: FigureResult, metric: Metric) -> list[str]:
    """Return a line for each contender that was not measured in every round."""
    labels = {contender.key: contender.label for contender in result.figure.contenders} | metric.rows
    failed = dict.fromkeys([*result.unavailable, *result.failures])
    return [f"{labels.get(key, key)}: {result.reason(key)}" for key in failed]


def _short(metric: Metric) -> str:
    return "ours" if metric.of == "ours" else metric.rows[metric.of].split()[0]


def _against(budget: Budget, metric: Metric) -> str:
    of = "ours" if budget.of == "ours" else metric.rows[budget.of]
    return of if budget.over is None else f"{of} ÷ {metric.rows[budget.over]}"


def _budget(judged: tuple[Budget, Verdict] | None) -> Text:
    if judged is None:
        return Text()
    budget, verdict = judged
    limit = f"{budget.limit:.1f}×" if budget.over else f"{budget.limit:g}"
    return Text.assemble(f"≤ {limit} ", MARKS[verdict])


def _cell(found: Spread | None, unit: str = "") -> Text:
    if found is None:
        return Text("–", "dim")
    spread_text = f" ({format_number(found.least)}–{format_number(found.most)})" if found.rounds > 1 else ""
    return Text.assemble(f"{format_number(found.median)}{unit}", (spread_text, "dim"))
