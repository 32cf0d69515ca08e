"""What the report says about what was really used: waste, estimates against actual, the server's measured use.

In: rows of the tables that are written after a purchase. Out: how they come about (`assets.reports`, `assets.serving`).
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from dataclasses import dataclass

from resources.lake import Lake
from synth_assets.core.bill_tables import ESTIMATES, USAGE, WASTE
from synth_assets.core.tables import COST
from synth_assets.reporting.data import Rows, rows_of

LISTED_PURCHASES = 20


@dataclass(frozen=True)
class Waste:
    """What was paid and is in no text that is kept, by kind and reason; `kinds` are sums of `rows`."""

    rows: Rows
    kinds: Rows
    cost_usd: float
    share: float | None
    """Of the whole bill; None without one."""


@dataclass(frozen=True)
class EstimateErrors:
    """Estimate against actual by strategy and model as the ledger grew; `first` and `last` are sums over strategies."""

    rows: Rows
    first: float | None
    """Relative error of all first rows together."""
    last: float | None
    """Of those strategies that have a second row, of all their last rows together."""


def waste(lake: Lake) -> Waste | None:
    """None until `reports.waste` has been written."""
    if not lake.has_table(WASTE.name):
        return None
    rows = rows_of(
        lake,
        f"""SELECT kind, reason, sum(requests)::BIGINT AS requests, sum(prompt_tokens)::BIGINT AS prompt_tokens,
        sum(completion_tokens)::BIGINT AS completion_tokens, sum(gpu_hours) AS gpu_hours, sum(cost_usd) AS cost_usd
        FROM {WASTE.name} GROUP BY ALL ORDER BY cost_usd DESC, kind, reason""",
    )
    kinds = rows_of(
        lake,
        f"SELECT strategy, kind, sum(cost_usd) AS cost_usd, sum(requests)::BIGINT AS requests FROM {WASTE.name} "
        "GROUP BY ALL ORDER BY strategy, kind",
    )
    wasted = sum(row["cost_usd"] or 0.0 for row in rows)
    return Waste(rows, kinds, wasted, wasted / bill if (bill := _bill_usd(lake)) else None)


def _bill_usd(lake: Lake) -> float | None:
    if not lake.has_table(COST.name):
        return None
    rows = rows_of(lake, f"SELECT cost_usd FROM {COST.name} WHERE strategy = 'total'")
    return rows[0]["cost_usd"] if rows else None


def estimate_errors(lake: Lake) -> EstimateErrors | None:
    """None until `reports.estimates` has a row."""
    if not lake.has_table(ESTIMATES.name):
        return None
    rows = rows_of(lake, f"SELECT * FROM {ESTIMATES.name} ORDER BY strategy, model, answers_before")
    if not rows:
        return None
    series: dict[tuple[str, str], Rows] = {}
    for row in rows:
        series.setdefault((row["strategy"], row["model"]), []).append(row)
    grown = [entries for entries in series.values() if len(entries) > 1]
    return EstimateErrors(
        rows, _relative_error([entries[0] for entries in series.values()]), _relative_error([s[-1] for s in grown])
    )


def _relative_error(rows: Rows) -> float | None:
    actual = sum(row["completion_tokens"] or 0 for row in rows)
    estimated = sum(row["estimated_completion_tokens"] or 0 for row in rows)
    return (estimated - actual) / actual if actual else None


def usage(lake: Lake) -> Rows | None:
    """The latest purchases, newest first; None until one has been measured."""
    if not lake.has_table(USAGE.name):
        return None
    return (
        rows_of(
            lake,
            f"""SELECT * REPLACE (strftime(started_at, '%Y-%m-%d %H:%M') AS started_at),
            count(*) OVER () AS purchase_count FROM {USAGE.name} ORDER BY {USAGE.name}.started_at DESC LIMIT ?""",
            [LISTED_PURCHASES],
        )
        or None
    )
