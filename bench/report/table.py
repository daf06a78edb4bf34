"""The table on the terminal: budgets beside the figures, and a mark that says which hold.

Fits into 80 columns. Must not know how anything was measured.
"""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.figures.base import Metric
from bench.results import Found, Results
from bench.stats import Budget, Spread, Verdict, number, ratios, spread

MARKS = {
    Verdict.HOLDS: Text("✔ holds", "bold green"),
    Verdict.MISSED: Text("✘ MISSED", "bold red"),
    Verdict.UNKNOWN: Text("? unknown", "bold yellow"),
}


def show(console: Console, results: Results, found: Found) -> None:
    """Print all blocks of one figure."""
    for metric in found.figure.metrics:
        console.print(block(results, found, metric))


def block(results: Results, found: Found, metric: Metric) -> RenderableType:
    """One metric: a row for each contender, the budget in the row of what it compares with."""
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column(metric.unit, justify="right", no_wrap=True)
    table.add_column(f"{_short(metric)} ÷ it" if metric.ratios else "", justify="right", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    rows = found.rows(metric)
    verdicts = {budget.over or budget.of: (budget, verdict) for budget, verdict, _ in found.verdicts(metric)}
    for row, label in metric.rows.items():
        ratio = Text()
        if metric.ratios and row != metric.of:
            ratio = _cell(spread(ratios(rows[metric.of], rows[row])), "×")
        name = Text(label, "bold cyan" if row == metric.of else "")
        table.add_row(name, _cell(spread(rows[row])), ratio, _budget(verdicts.get(row)))
    lines = [Text(line, "yellow") for line in _failures(found, metric)]
    lines += [Text(line, "dim") for line in found.notes(metric)]
    title = Text(results.title(metric), "bold")
    return Group(title, table, *(Padding(line, (0, 0, 0, 2)) for line in lines), "")


def summary(results: Results) -> RenderableType:
    """Every budget once more, and how many hold."""
    table = _table()
    table.add_column("")
    table.add_column("median (least–most)", justify="right", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    for found in results.found:
        for metric in found.figure.metrics:
            for budget, verdict, measured in found.verdicts(metric):
                unit = "×" if budget.over else f" {metric.unit}".rstrip()
                name = f"{metric.short}: {_against(budget, metric)}"
                table.add_row(name, _cell(measured, unit), _budget((budget, verdict)))
    counted = results.count()
    line = Text(f"{counted[Verdict.HOLDS]} of {sum(counted.values())} budgets hold", "bold")
    if counted[Verdict.MISSED]:
        line.append(f", {counted[Verdict.MISSED]} missed", "bold red")
    if counted[Verdict.UNKNOWN]:
        line.append(f", {counted[Verdict.UNKNOWN]} not measured", "bold yellow")
    return Group(
        Text("Budgets", "bold"), table, line, *(Text(remark, "yellow") for remark in results.remarks)
    )


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _failures(found: Found, metric: Metric) -> list[str]:
    """A line for each contender that was not measured, or not always."""
    labels = {contender.key: contender.label for contender in found.figure.contenders} | metric.rows
    failed = dict.fromkeys([*found.absent, *found.wrong])
    return [f"{labels.get(key, key)}: {found.reasons(key)}" for key in failed]


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
    among = f" ({number(found.least)}–{number(found.most)})" if found.rounds > 1 else ""
    return Text.assemble(f"{number(found.median)}{unit}", (among, "dim"))
