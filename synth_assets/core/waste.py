"""What was paid for and is not in the training data, in dollars.

In: kinds of waste, and their price. Out: which answer is of which kind (`synth_assets.assets.waste_kinds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from synth_assets.core.hardware import Hardware
from synth_assets.core.token_prices import TokenPrices

KINDS: Final = ("failed", "cut", "dropped", "superseded")


@dataclass(frozen=True)
class WastedCalls:
    """Calls of one strategy and model that are waste of one kind and for one reason, as totals.

    Of failed ones the planned prompt tokens count, once, where the server has read them: a lower bound, since retries
    and what had been answered by then are not known.
    """

    strategy: str
    model: str
    kind: str
    reason: str
    requests: int
    prompt_tokens: int
    cached_prompt_tokens: int
    completion_tokens: int


def waste_rows(
    wasted: Iterable[WastedCalls], prices_of: Callable[[WastedCalls], TokenPrices], hardware: Hardware
) -> list[dict[str, Any]]:
    """Rows of `reports.waste`, priced as the bill of their strategy and model is; cached prompt tokens cost nothing."""
    rows = []
    for calls in wasted:
        computed = calls.prompt_tokens - calls.cached_prompt_tokens
        gpu_hours = prices_of(calls).gpu_hours(computed, calls.completion_tokens)
        rows.append(
            {
                "strategy": calls.strategy,
                "model": calls.model,
                "kind": calls.kind,
                "reason": calls.reason,
                "requests": calls.requests,
                "prompt_tokens": calls.prompt_tokens,
                "completion_tokens": calls.completion_tokens,
                "gpu_hours": gpu_hours,
                "cost_usd": gpu_hours * hardware.usd_per_gpu_hour,
            }
        )
    return rows
