"""What a budget would buy of what is missing: documents and training tokens by strategy.

In: the lines of a plan as offers, the budget, weights. Out: dividing the budget (`core.allocation`), and holding a run
to it (`core.budget`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from resources.errors import SettingError
from synth_assets.core.allocation import Offer, allocate
from synth_assets.core.hardware import Hardware
from synth_assets.planning.strategy_plan import StrategyPlan


def what_it_buys(
    plans: Mapping[str, StrategyPlan],
    judge: StrategyPlan | None,
    hardware: Hardware,
    max_usd: float | None,
    max_gpu_hours: float | None,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """By strategy, documents of those that miss answers, with dollars and training tokens; None of both: no limit.

    Each document costs its strategy's mean and the mean of a judgement. `weights` divide the dollars; by default alike,
    and a strategy that is not named gets none. Raises SettingError for a strategy that there is not.
    """
    if unknown := [name for name in weights or {} if name not in plans]:
        raise SettingError(f"--weights names {unknown[0]!r}.", f"Strategies are {', '.join(plans)}.")
    # Free GPU-hours have a limit in hours only: then an hour stands for a dollar.
    price = hardware.usd_per_gpu_hour or 1.0
    budget = min(
        math.inf if max_usd is None or not hardware.usd_per_gpu_hour else max_usd,
        math.inf if max_gpu_hours is None else max_gpu_hours * price,
    )
    missing = sum(plan.documents_to_generate for plan in plans.values())
    judging = judge.gpu_hours * price / missing if judge is not None and missing else 0.0
    offers = [
        Offer(
            name,
            plan.documents_to_generate,
            plan.gpu_hours * price / plan.documents_to_generate + judging,
            plan.completion_tokens / plan.documents_to_generate,
            1.0 if weights is None else weights.get(name, 0.0),
        )
        for name, plan in plans.items()
        if plan.documents_to_generate
    ]
    whole = sum(offer.documents * offer.usd_per_document for offer in offers)
    bought = {item.strategy: item for item in allocate(offers, min(budget, 2 * whole + 1.0))}
    rows = {
        offer.strategy: {
            "documents": bought[offer.strategy].documents,
            "documents_to_generate": offer.documents,
            "cost_usd": bought[offer.strategy].cost_usd * hardware.usd_per_gpu_hour / price,
            "training_tokens": round(bought[offer.strategy].output_tokens),
        }
        for offer in offers
    }
    names = ("documents", "documents_to_generate", "cost_usd", "training_tokens")
    return {
        "max_usd": max_usd,
        "max_gpu_hours": max_gpu_hours,
        "strategies": rows,
        "total": {name: sum(row[name] for row in rows.values()) for name in names},
    }
