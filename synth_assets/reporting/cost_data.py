"""Two questions that the bill leads to: dense or mixture of experts, and what a larger corpus would cost.

In: the bill's totals put to `core.scaling`. Out: the bill itself (`data.cost`), the arithmetic (`core`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resources.errors import SynthError
from resources.inference import ServedModel
from synth_assets.core.cost import CostEstimate, estimate
from synth_assets.core.costing import cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.scaling import (
    CLIENT_REQUESTS_PER_SECOND,
    LEDGER_ROWS_PER_SECOND,
    SECONDS_PER_DAY,
    ModelComparison,
    ScalingRow,
    compare_dense_and_moe,
    conclusion,
    scaling_table,
)
from synth_assets.core.throughput import HIGH_FACTOR, LOW_FACTOR
from synth_assets.reporting.budget_data import BudgetRow, budget_rows
from synth_assets.reporting.chart_style import Row
from synth_assets.reporting.choice_data import Choice, choices, in_words


@dataclass(frozen=True)
class CostOutlook:
    """What follows from the bill on that hardware; where `problem` says why not, the tables are empty."""

    hardware: str
    architecture: str = ""
    warning: str = ""
    gpu_count: int = 0
    usd_per_gpu_hour: float = 0.0
    low_usd: float = 0.0
    high_usd: float = 0.0
    """The bill where the server is as fast, or as slow, as is still likely."""
    comparison: Sequence[ModelComparison] = ()
    conclusion: str = ""
    scaling: Sequence[ScalingRow] = ()
    choices: Sequence[Choice] = ()
    choice_words: str = ""
    budgets: Sequence[BudgetRow] = ()
    problem: str = ""


def cost_outlook(bill: Sequence[Row], documents: int, hardware_name: str) -> CostOutlook:
    """Comparison and scaling of the bill's total (rows of `reports.cost`, one of them `total`)."""
    total = next((row for row in bill if row["strategy"] == "total"), None)
    if total is None or not (total["requests"] or total["estimated_requests"]):
        return CostOutlook(hardware_name, problem="Nothing has been bought or estimated yet.")
    base = _bill(total, "" if total["requests"] else "estimated_")
    model = cost_model(ServedModel(_main_model(bill)))
    try:
        hardware = Hardware.parse(hardware_name, _paid_usd_per_gpu_hour(base))
        comparison = compare_dense_and_moe(hardware, base.requests, base.prompt_tokens, base.completion_tokens)
        # At the pace of the bill, measured or not, so that the first row is the bill.
        ideal = estimate(model.architecture, hardware, base.requests, base.prompt_tokens, base.completion_tokens)
        reached = ideal.gpu_hours / base.gpu_hours if base.gpu_hours else 1.0
        scaling = scaling_table(base, documents, model.architecture, hardware, reached=reached)
        compared = choices(base, model.architecture, hardware.count)
    except SynthError as error:
        return CostOutlook(hardware_name, problem=str(error))
    return CostOutlook(
        hardware=hardware.name,
        architecture=model.architecture.name,
        warning=model.warning,
        gpu_count=hardware.count,
        usd_per_gpu_hour=hardware.usd_per_gpu_hour,
        low_usd=base.cost_usd / HIGH_FACTOR,
        high_usd=base.cost_usd / LOW_FACTOR,
        comparison=comparison,
        conclusion=conclusion(comparison),
        scaling=scaling,
        budgets=budget_rows(bill, documents),
        choices=compared,
        choice_words=in_words(compared, model.architecture.name) if compared else "",
    )


def scaling_points(outlook: CostOutlook) -> list[dict[str, Any]]:
    """The scaling table as rows for its chart."""
    return [
        {
            "factor": row.factor,
            "documents": row.documents,
            "cost_usd": row.estimate.cost_usd,
            "gpu_hours": row.estimate.gpu_hours,
        }
        for row in outlook.scaling
    ]


def limit_within_a_day(row: ScalingRow) -> str:
    """What limits a run with as many GPUs as it takes for one day; one client and one ledger remain."""
    rate = row.estimate.requests / SECONDS_PER_DAY
    if rate > LEDGER_ROWS_PER_SECOND:
        return f"storage: {rate:,.0f} answers/s, one ledger keeps {LEDGER_ROWS_PER_SECOND:,.0f}"
    if rate > CLIENT_REQUESTS_PER_SECOND:
        return f"client: {rate:,.0f} requests/s, one process does {CLIENT_REQUESTS_PER_SECOND:,.0f}"
    return f"server: {rate:,.3g} requests/s, one client does {CLIENT_REQUESTS_PER_SECOND:,.0f}"


def _bill(row: Row, prefix: str) -> CostEstimate:
    def figure(name: str) -> Any:
        return row[f"{prefix}{name}"] or 0

    return CostEstimate(
        requests=figure("requests"),
        prompt_tokens=figure("prompt_tokens"),
        completion_tokens=figure("completion_tokens"),
        flops=figure("flops"),
        gpu_hours=figure("gpu_hours"),
        cost_usd=figure("cost_usd"),
    )


def _paid_usd_per_gpu_hour(base: CostEstimate) -> float | None:
    """The price that the bill was made with, which a setting may have changed; None means the catalogue's."""
    return base.cost_usd / base.gpu_hours if base.gpu_hours else None


def _main_model(bill: Sequence[Row]) -> str:
    """The model that most requests went to."""
    requests: dict[str, int] = {}
    for row in bill:
        if row["strategy"] != "total" and row["model"]:
            requests[row["model"]] = requests.get(row["model"], 0) + (row["requests"] or 0)
    return max(requests, key=lambda name: requests[name], default="unknown")
