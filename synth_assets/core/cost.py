"""What requests cost: FLOPs, GPU-hours, dollars, and how that grows.

In: pure arithmetic from numbers of requests and tokens to an estimate. Out: what limits a server (`roofline`,
`throughput`), and where the token counts come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Hardware
from synth_assets.core.roofline import flops_per_token, prefill_flops
from synth_assets.core.throughput import throughput_estimate

DEFAULT_CONCURRENCY = 64


def forward_flops(arch: ModelArchitecture, prompt_tokens: float, completion_tokens: float) -> float:
    """Forward FLOPs of one request: 2 N_active (P+G), plus attention of the prompt and of each decoded token.

    Attention: 2 L d P² for the (causal) prompt and 4 L d c for a token at context c; L counts attention layers. Those
    with a window look back on no more than it, and latent attention has a width of its own in decode (`roofline`).
    """
    mean_context = prompt_tokens + max(completion_tokens - 1, 0) / 2
    return prefill_flops(arch, prompt_tokens) + completion_tokens * flops_per_token(arch, mean_context)


def total_forward_flops(arch: ModelArchitecture, requests: int, prompt_tokens: int, completion_tokens: int) -> float:
    """Forward FLOPs of many requests from their totals, as if all had the mean length.

    Without windows the attention part is thereby a lower bound (it is convex in the length); at lengths of some
    hundred tokens it is a few percent of the whole.
    """
    if requests == 0:
        return 0.0
    return requests * forward_flops(arch, prompt_tokens / requests, completion_tokens / requests)


def cost_usd(gpu_hours: float, hardware: Hardware) -> float:
    """Dollars for that many GPU-hours."""
    return gpu_hours * hardware.usd_per_gpu_hour


def usd_per_million_tokens(hardware: Hardware, tokens_per_second: float) -> float:
    """Dollars for a million tokens at that rate of the whole hardware."""
    return hardware.usd_per_gpu_hour * hardware.count / (tokens_per_second * 3600) * 1e6


@dataclass(frozen=True)
class CostEstimate:
    """The bill for some requests. Tokens are totals; `wall_seconds` is the time the server is busy."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    flops: float = 0.0
    wall_seconds: float = 0.0
    gpu_hours: float = 0.0
    cost_usd: float = 0.0

    def __add__(self, other: CostEstimate) -> CostEstimate:
        return CostEstimate(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.flops + other.flops,
            self.wall_seconds + other.wall_seconds,
            self.gpu_hours + other.gpu_hours,
            self.cost_usd + other.cost_usd,
        )


def estimate(
    arch: ModelArchitecture,
    hardware: Hardware,
    requests: int,
    prompt_tokens: int,
    completion_tokens: int,
    concurrency: float = DEFAULT_CONCURRENCY,
    reached: float = 1.0,
) -> CostEstimate:
    """The bill for `requests` with those token totals on that hardware.

    `reached` is the throughput as a multiple of the roofline's (`pace`). Raises SettingError when the model does not
    fit the hardware.
    """
    if not (prompt_tokens or completion_tokens):
        # Refused as too long, or of a server that reports no usage.
        return CostEstimate(requests)
    pace = throughput_estimate(
        arch,
        hardware,
        min(concurrency, requests),
        prompt_tokens / requests,
        completion_tokens / requests,
    )
    wall_seconds = requests / pace.requests_per_second / reached
    gpu_hours = wall_seconds * hardware.count / 3600
    return CostEstimate(
        requests=requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        flops=total_forward_flops(arch, requests, prompt_tokens, completion_tokens),
        wall_seconds=wall_seconds,
        gpu_hours=gpu_hours,
        cost_usd=cost_usd(gpu_hours, hardware),
    )


def total(estimates: Iterable[CostEstimate]) -> CostEstimate:
    """The sum of several bills."""
    return sum(estimates, CostEstimate())
