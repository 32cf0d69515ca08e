"""The ideal limits of a model on some hardware: bytes and FLOPs of a step, memory, and the critical batch.

In: pure arithmetic on `ModelArchitecture` and `Hardware`. Out: dividing GPUs into replicas (`gpu_split`), what a real
server reaches of the limits (`throughput`), and what a number of requests costs (`cost`). Several GPUs are one
tensor-parallel group: memory, bandwidth and peak add up, and every block's result is summed over the links.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Gpu, Hardware

MEMORY_UTILIZATION = 0.9
"""Share of the GPU's memory for weights and caches (vLLM's default)."""

ALL_REDUCE_SECONDS = 9e-6
"""Of one small sum over the GPUs of a group, whatever its size: 8.5 to 11.8 µs for up to 32 KB on 2, 4 and 8 H100 with
vLLM's own kernel (measured in sgl-project/sglang pull request 2904)."""

ACTIVATION_BYTES = 2.0
"""Of a number that GPUs exchange: activations stay in 16 bits."""


@dataclass(frozen=True)
class DecodeStep:
    """One decode step, which makes one token for each of `batch` sequences. Times are ideal seconds."""

    batch: float
    distinct_experts: float
    """Experts of one layer whose weights are read; 0 for a dense model."""
    weight_bytes: float
    kv_bytes: float
    state_bytes: float
    flops: float
    memory_seconds: float
    compute_seconds: float
    communication_seconds: float = 0.0
    """Lower bound of what the GPUs of the group exchange, which nothing else hides; 0 for one GPU."""

    @property
    def bytes_touched(self) -> float:
        """All bytes that the step moves."""
        return self.weight_bytes + self.kv_bytes + self.state_bytes

    @property
    def seconds(self) -> float:
        """Duration: the slower of memory and arithmetic, and the exchange between GPUs after it."""
        return max(self.memory_seconds, self.compute_seconds) + self.communication_seconds

    @property
    def tokens_per_second(self) -> float:
        """Ideal output tokens per second."""
        return self.batch / self.seconds

    @property
    def is_memory_bound(self) -> bool:
        """Whether moving bytes takes longer than the arithmetic."""
        return self.memory_seconds > self.compute_seconds


@dataclass(frozen=True)
class CriticalBatch:
    """The batch from which on decode is limited by arithmetic, and why in words."""

    naive: float
    """Peak over bandwidth in tokens, as if every token used every weight and there were no caches."""
    batch: float | None
    """With distinct experts, caches and recurrent state; None: memory-bound at every batch."""
    explanation: str


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that serving takes, and how many sequences of that context would fit."""

    weight_bytes: float
    kv_bytes: float
    state_bytes: float
    max_sequences: int
    """0: the weights alone do not fit."""

    @property
    def total_bytes(self) -> float:
        """Weights, caches and states."""
        return self.weight_bytes + self.kv_bytes + self.state_bytes


def distinct_experts(arch: ModelArchitecture, batch: float) -> float:
    """Expected experts of one layer that a batch touches, with tokens routed evenly: E(1-(1-k/E)^B)."""
    if not arch.is_moe:
        return 0.0
    return arch.experts * (1 - (1 - arch.experts_per_token / arch.experts) ** batch)


def flops_per_token(arch: ModelArchitecture, context_tokens: float = 0) -> float:
    """Forward FLOPs of one decoded token that looks back on `context_tokens`."""
    width = arch.decode_width or arch.d_attn
    return 2 * arch.active_params + 4 * width * arch.attended_tokens(context_tokens)


def prefill_flops(arch: ModelArchitecture, prompt_tokens: float) -> float:
    """Forward FLOPs of one prompt; a token looks back on half of it on average, in windowed layers on the window."""
    mean_attended = arch.attended_tokens(prompt_tokens / 2)
    return prompt_tokens * (2 * arch.active_params + 4 * arch.d_attn * mean_attended)


def all_reduce_seconds(arch: ModelArchitecture, hardware: Hardware | Gpu, tokens: float) -> float:
    """Bytes of the sums over a tensor-parallel group for that many tokens, on its links; without their latency.

    A ring moves 2(n-1)/n of the summed bytes over each link; 0 for one GPU.
    """
    gpus = _gpu_count(hardware)
    gpu = hardware.gpu if isinstance(hardware, Hardware) else hardware
    moved = tokens * arch.all_reduces * arch.hidden * ACTIVATION_BYTES * 2 * (gpus - 1) / gpus
    return moved / gpu.link_bytes_per_second


def _gpu_count(hardware: Hardware | Gpu) -> int:
    return hardware.count if isinstance(hardware, Hardware) else 1


def decode_step(
    arch: ModelArchitecture, hardware: Hardware | Gpu, batch: float, context_tokens: float = 0
) -> DecodeStep:
    """Bytes, FLOPs and ideal time of one decode step for `batch` sequences of that context.

    Recurrent state is read and written; keys and values of the new token are neglected beside those read. GPUs beyond
    the number of KV heads hold, and read, copies of the cache.
    """
    touched = distinct_experts(arch, batch)
    gpus = _gpu_count(hardware)
    weight_bytes = arch.read_weight_bytes(touched / arch.experts if arch.is_moe else 1.0)
    kv_bytes = batch * arch.kv_bytes(context_tokens) * arch.kv_copies(gpus)
    state_bytes = batch * 2 * arch.recurrent_state_bytes
    flops = batch * flops_per_token(arch, context_tokens)
    return DecodeStep(
        batch=batch,
        distinct_experts=touched,
        weight_bytes=weight_bytes,
        kv_bytes=kv_bytes,
        state_bytes=state_bytes,
        flops=flops,
        memory_seconds=(weight_bytes + kv_bytes + state_bytes) / hardware.bandwidth_bytes_per_second,
        compute_seconds=flops / hardware.peak_flops_per_second(arch.bytes_per_param),
        communication_seconds=all_reduce_seconds(arch, hardware, batch)
        + (arch.all_reduces * ALL_REDUCE_SECONDS if gpus > 1 else 0.0),
    )


def critical_batch(arch: ModelArchitecture, hardware: Hardware | Gpu, context_tokens: float = 0) -> CriticalBatch:
    """The batch at which arithmetic takes as long as moving bytes.

    The naive figure knows nothing of experts, caches and state: 295 for H100 in bf16. Each further sequence
    brings its own state and cache; where moving those takes longer than the sequence's arithmetic, no batch
    is enough.
    """
    balance = hardware.peak_flops_per_second(arch.bytes_per_param) / hardware.bandwidth_bytes_per_second
    naive = balance * arch.bytes_per_param / 2
    own = decode_step(arch, hardware, 1, context_tokens)
    own_bytes = own.kv_bytes + own.state_bytes
    own_seconds = own_bytes / hardware.bandwidth_bytes_per_second
    if own_seconds >= own.compute_seconds:
        what = " and ".join(
            name for name, size in (("recurrent state", own.state_bytes), ("KV cache", own.kv_bytes)) if size
        )
        return CriticalBatch(
            naive,
            None,
            f"There is none: each sequence moves {own_bytes / 1e6:,.0f} MB of {what} a step "
            f"({own_seconds * 1e6:,.1f} µs) but needs only {own.compute_seconds * 1e6:,.1f} µs of arithmetic, "
            "so decode stays memory-bound.",
        )

    crossing = _first_compute_bound_batch(arch, hardware, context_tokens)
    words = f"From {crossing:,.0f} sequences on arithmetic takes longer than moving bytes (naive: {naive:,.0f})."
    if arch.is_moe:
        words += (
            f" At that batch {distinct_experts(arch, crossing):,.0f} of {arch.experts} experts a layer are "
            f"read, but each token uses {arch.experts_per_token}: {crossing / naive:.1f} times the naive figure."
        )
    return CriticalBatch(naive, crossing, words)


def _first_compute_bound_batch(arch: ModelArchitecture, hardware: Hardware | Gpu, context_tokens: float) -> float:
    high = 1.0
    while decode_step(arch, hardware, high, context_tokens).is_memory_bound:
        high *= 2
    low = high / 2
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if decode_step(arch, hardware, middle, context_tokens).is_memory_bound:
            low = middle
        else:
            high = middle
    return high


def memory_bytes(
    arch: ModelArchitecture, hardware: Hardware | Gpu, sequences: float, context_tokens: float
) -> MemoryUse:
    """Memory for `sequences` in flight on one tensor-parallel group, and how many would fit beside the weights.

    What the server needs for activations and captured graphs, some gigabytes, is not counted.
    """
    kv_bytes = arch.kv_bytes(context_tokens) * arch.kv_copies(_gpu_count(hardware))
    per_sequence = kv_bytes + arch.recurrent_state_bytes
    free = hardware.memory_bytes * MEMORY_UTILIZATION - arch.weight_bytes
    fitting = math.inf if not per_sequence else free / per_sequence
    return MemoryUse(
        weight_bytes=arch.weight_bytes,
        kv_bytes=sequences * kv_bytes,
        state_bytes=sequences * arch.recurrent_state_bytes,
        max_sequences=int(min(max(fitting, 0), 1e9)) if free > 0 else 0,
    )
