"""How a plan looks on a terminal of 100 columns: what is asked for, what it costs, what a budget buys.

In: the report that `plan --json` prints. Out: making it (`commands.plan`).
"""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

HOUR, DAY = 3600, 86_400


def print_bill(console: Console, report: dict[str, Any]) -> None:
    """The tables of requests and costs, and what they rest on."""
    rows = [*report["strategies"].items(), ("total", report["total"])]
    if report["judge"] is not None:
        rows += [("judge (estimated)", report["judge"]), ("with judge", report["total_with_judge"])]
    console.print(_requests(rows))
    if any(row["segments"] for _, row in rows):
        console.print(_costs(rows))
    model = report["model"] or "no model known yet: `synth serve` starts one"
    console.print(
        f"Model: {model}. Tokens counted by {report['tokenizer']}. Hardware: {report['hardware']}.", highlight=False
    )
    console.print(
        f"Throughput: {report['throughput_source']}. Length of answers: "
        f"{report['total_with_judge']['estimate_source'] or 'nothing to ask for'}.",
        highlight=False,
    )


def print_budget(console: Console, bought: dict[str, Any]) -> None:
    """What the budget buys of each strategy."""
    table = _table("strategy", "documents", "of", "USD", "training tokens")
    for name, row in [*bought["strategies"].items(), ("total", bought["total"])]:
        table.add_row(
            name,
            f"{row['documents']:,}",
            f"{row['documents_to_generate']:,}",
            _number(row["cost_usd"]),
            f"{row['training_tokens']:,}",
        )
    limits = [
        *([] if bought["max_usd"] is None else [f"{bought['max_usd']:g} USD"]),
        *([] if bought["max_gpu_hours"] is None else [f"{bought['max_gpu_hours']:g} GPU-hours"]),
    ]
    console.print(
        f"What {' and '.join(limits)} buys, divided among the strategies (judging included):", highlight=False
    )
    console.print(table)
    console.print(
        "A run buys the strategies one after the other, long answers first, until its budget is spent; "
        "--strategies and --files choose."
    )


def _requests(rows: list[tuple[str, dict[str, Any]]]) -> Table:
    table = _table("strategy", "docs", "calls", "ledger", "prompt", "completion", "from", "to", "FLOPs")
    for name, row in rows:
        table.add_row(
            name,
            f"{row['documents']:,}" if "documents" in row and name not in ("total", "with judge") else "",
            f"{row['to_generate']:,}",
            f"{row['answered_from_ledger']:,}",
            f"{row['prompt_tokens']:,}",
            f"{row['completion_tokens']:,}",
            f"{row['low_completion_tokens']:,}",
            f"{row['high_completion_tokens']:,}",
            f"{row['flops']:.1e}",
        )
    return table


def _costs(rows: list[tuple[str, dict[str, Any]]]) -> Table:
    # GPU-hours have the range of the dollars: a third pair of columns would not fit 100 characters.
    table = _table("strategy", "GPU-h", "USD", "from", "to", "time", "from", "to", "USD saved")
    for name, row in rows:
        cells = [
            show(row[f"{bound}{column}"])
            for column, show in (("cost_usd", _number), ("wall_seconds", _duration))
            for bound in ("", "low_", "high_")
        ]
        table.add_row(name, _number(row["gpu_hours"]), *cells, _number(row["avoided_cost_usd"]))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _number(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} d"
