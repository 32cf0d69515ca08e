"""The ideal limits of a model on some hardware: bytes and FLOPs of a step, memory, and the critical batch.

In: pure arithmetic on `ModelArchitecture` and `Hardware`. Out: what a real server reaches of it
(`throughput`), and what a number of requests costs (`cost`). Several GPUs count as one, their memory,
bandwidth and peak added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Gpu, Hardware

MEMORY_UTILIZATION = 0.9
"""Share of the GPU's memory for weights and caches (vLLM's default)."""


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

    @property
    def bytes_touched(self) -> float:
        """All bytes that the step moves."""
        return self.weight_bytes + self.kv_bytes + self.state_bytes

    @property
    def seconds(self) -> float:
        """Duration: the slower of memory and arithmetic."""
        return max(self.memory_seconds, self.compute_seconds)

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
    return 2 * arch.active_params + 4 * arch.attention_layers * arch.d_attn * context_tokens


def decode_step(
    arch: ModelArchitecture, hardware: Hardware | Gpu, batch: float, context_tokens: float = 0
) -> DecodeStep:
    """Bytes, FLOPs and ideal time of one decode step for `batch` sequences of that context.

    Recurrent state is read and written; keys and values of the new token are neglected beside those read.
    """
    touched = distinct_experts(arch, batch)
    idle_experts = arch.expert_params * (1 - touched / arch.experts) if arch.is_moe else 0.0
    weight_bytes = (arch.total_params - arch.lookup_params - idle_experts) * arch.bytes_per_param
    kv_bytes = batch * arch.kv_bytes_per_token * context_tokens
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
            f"None: each sequence moves {own_bytes / 1e6:,.0f} MB of {what} a step "
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
    """Memory for `sequences` in flight, and how many would fit beside the weights."""
    per_sequence = arch.kv_bytes_per_token * context_tokens + arch.recurrent_state_bytes
    free = hardware.memory_bytes * MEMORY_UTILIZATION - arch.weight_bytes
    fitting = math.inf if not per_sequence else free / per_sequence
    return MemoryUse(
        weight_bytes=arch.weight_bytes,
        kv_bytes=sequences * arch.kv_bytes_per_token * context_tokens,
        state_bytes=sequences * arch.recurrent_state_bytes,
        max_sequences=int(min(max(fitting, 0), 1e9)) if free > 0 else 0,
    )
