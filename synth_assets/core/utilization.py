"""Which share of the hardware's peak a purchase has used, from the server's own counters or from our tokens.

In: arithmetic on what was measured. Out: reading the counters (`resources.server_usage`), and the ideal times behind
MBU (`roofline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Hardware
from synth_assets.core.throughput import mbu, mfu


@dataclass(frozen=True)
class PurchaseUsage:
    """One purchase as its answers tell it. `request_seconds` is the sum of how long each of them took."""

    requests: int
    prompt_tokens: int
    cached_prompt_tokens: int
    completion_tokens: int
    wall_seconds: float
    request_seconds: float

    @property
    def mean_in_flight(self) -> float:
        """Requests under way at a moment, on average (Little's law)."""
        return self.request_seconds / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Completion tokens a second of all requests together."""
        return self.completion_tokens / self.wall_seconds if self.wall_seconds else 0.0


@dataclass(frozen=True)
class Utilization:
    """Shares of the peak, 0 to 1; None where neither the server nor the model's architecture tells."""

    mfu: float | None
    mbu: float | None
    source: Literal["server", "computed"]


def counted_utilization(
    hardware: Hardware, bytes_per_param: float, flops_per_gpu: float, bytes_per_gpu: float, seconds: float
) -> Utilization:
    """From one GPU's FLOPs and bytes in some seconds. The number of GPUs does not matter, their kind does."""
    peak = hardware.gpu.peak_flops_per_second(bytes_per_param)
    bandwidth = hardware.gpu.bandwidth_bytes_per_second
    return Utilization(flops_per_gpu / seconds / peak, bytes_per_gpu / seconds / bandwidth, "server")


def computed_utilization(arch: ModelArchitecture | None, hardware: Hardware, usage: PurchaseUsage) -> Utilization:
    """From our own tokens: all that the model went through for MFU, its decode steps alone for MBU.

    Prompt tokens from the server's cache went through nothing. Lower bounds where others used the server as well.
    """
    if arch is None or not usage.completion_tokens or not usage.wall_seconds:
        return Utilization(None, None, "computed")
    processed = usage.prompt_tokens - usage.cached_prompt_tokens + usage.completion_tokens
    context_tokens = (usage.prompt_tokens + usage.completion_tokens / 2) / max(usage.requests, 1)
    return Utilization(
        mfu(arch, hardware, processed / usage.wall_seconds),
        mbu(arch, hardware, usage.tokens_per_second, max(usage.mean_in_flight, 1.0), context_tokens),
        "computed",
    )
