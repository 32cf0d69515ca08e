"""A bill with its range: fewer tokens at the fastest pace, more tokens at the slowest.

In: the range of the tokens times that of the pace. Out: where either comes from (`output_length`, `pace`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import CostEstimate, estimate
from synth_assets.core.hardware import Hardware
from synth_assets.core.output_length import TokenRange
from synth_assets.core.pace import Pace


@dataclass(frozen=True)
class CostRange:
    """Three bills for the same requests."""

    low: CostEstimate
    expected: CostEstimate
    high: CostEstimate


def estimate_range(
    arch: ModelArchitecture,
    hardware: Hardware,
    requests: int,
    prompt_tokens: int,
    completion_tokens: TokenRange,
    concurrency: float,
    pace: Pace,
) -> CostRange:
    """Bills for `requests` with those token totals; FLOPs have the range of the tokens only. Raises SettingError."""

    def bill(tokens: float, factor: float) -> CostEstimate:
        made = estimate(arch, hardware, requests, prompt_tokens, round(tokens), concurrency, pace.reached)
        return replace(
            made,
            wall_seconds=made.wall_seconds / factor,
            gpu_hours=made.gpu_hours / factor,
            cost_usd=made.cost_usd / factor,
        )

    return CostRange(
        bill(completion_tokens.low, pace.fastest),
        bill(completion_tokens.expected, 1.0),
        bill(completion_tokens.high, pace.slowest),
    )
