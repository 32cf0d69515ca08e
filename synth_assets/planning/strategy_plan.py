"""One line of a plan: what is asked for, what it costs and how sure that is, and what the ledger saves.

In: putting counts and bills together, and adding lines up. Out: counting (`estimate`, `judge_estimate`), and showing it
(`commands`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import estimate
from synth_assets.core.cost_range import estimate_range
from synth_assets.core.hardware import Hardware
from synth_assets.core.output_length import OutputLength
from synth_assets.core.pace import Pace


@dataclass(frozen=True)
class StrategyPlan:
    """Counts, tokens and money of the requests that are not in the ledger; `avoided_…` is of those that are."""

    to_generate: int = 0
    answered_from_ledger: int = 0
    documents: int = 0
    documents_to_generate: int = 0
    """Those of them that miss at least one answer."""
    segments: int = 0
    """Requests, whether answered or not."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    low_completion_tokens: int = 0
    high_completion_tokens: int = 0
    flops: float = 0.0
    gpu_hours: float = 0.0
    low_gpu_hours: float = 0.0
    high_gpu_hours: float = 0.0
    cost_usd: float = 0.0
    low_cost_usd: float = 0.0
    high_cost_usd: float = 0.0
    wall_seconds: float = 0.0
    low_wall_seconds: float = 0.0
    high_wall_seconds: float = 0.0
    avoided_prompt_tokens: int = 0
    avoided_completion_tokens: int = 0
    avoided_cost_usd: float = 0.0
    estimate_source: str = ""
    """Where the length of the answers comes from, `ledger` or `prior`; empty where none is asked for."""

    def as_dict(self) -> dict[str, Any]:
        """The form that `plan --json` prints."""
        return asdict(self)


@dataclass
class Counts:
    """What the requests of one line come to."""

    to_generate: int = 0
    answered: int = 0
    documents: int = 0
    documents_to_generate: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    avoided_prompt_tokens: int = 0
    avoided_completion_tokens: int = 0


@dataclass(frozen=True)
class Prices:
    """What a line is priced with."""

    architecture: ModelArchitecture
    hardware: Hardware
    concurrency: int
    pace: Pace


def priced(counts: Counts, prices: Prices, length: OutputLength) -> StrategyPlan:
    """The line for these counts. Raises SettingError when the model does not fit the hardware."""
    arch, hardware, pace = prices.architecture, prices.hardware, prices.pace
    tokens = length.sum_range(counts.completion_tokens, counts.to_generate, counts.documents_to_generate)
    bills = estimate_range(arch, hardware, counts.to_generate, counts.prompt_tokens, tokens, prices.concurrency, pace)
    avoided = estimate(
        arch,
        hardware,
        counts.answered,
        counts.avoided_prompt_tokens,
        counts.avoided_completion_tokens,
        prices.concurrency,
        pace.reached,
    )
    return StrategyPlan(
        to_generate=counts.to_generate,
        answered_from_ledger=counts.answered,
        documents=counts.documents,
        documents_to_generate=counts.documents_to_generate,
        segments=counts.to_generate + counts.answered,
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        low_completion_tokens=round(tokens.low),
        high_completion_tokens=round(tokens.high),
        flops=bills.expected.flops,
        gpu_hours=bills.expected.gpu_hours,
        low_gpu_hours=bills.low.gpu_hours,
        high_gpu_hours=bills.high.gpu_hours,
        cost_usd=bills.expected.cost_usd,
        low_cost_usd=bills.low.cost_usd,
        high_cost_usd=bills.high.cost_usd,
        wall_seconds=bills.expected.wall_seconds,
        low_wall_seconds=bills.low.wall_seconds,
        high_wall_seconds=bills.high.wall_seconds,
        avoided_prompt_tokens=counts.avoided_prompt_tokens,
        avoided_completion_tokens=counts.avoided_completion_tokens,
        avoided_cost_usd=avoided.cost_usd,
        estimate_source=length.source if counts.to_generate else "",
    )


def total_plan(plans: Iterable[StrategyPlan]) -> dict[str, Any]:
    """Sums over lines. Ranges are added as they are: lines share model and pace, so their errors have one sign."""
    rows = [plan.as_dict() for plan in plans]
    names = [field.name for field in fields(StrategyPlan) if field.name != "estimate_source"]
    sources = sorted({row["estimate_source"] for row in rows} - {""})
    return {**{name: sum(row[name] for row in rows) for name in names}, "estimate_source": ", ".join(sources)}
