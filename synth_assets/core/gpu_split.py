"""How some GPUs can be divided into servers: replicas that share nothing, or tensor parallel within one.

In: the divisions that hold a model. Out: which of them is the fastest (`throughput`).
"""

from __future__ import annotations

from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Gpu, Hardware
from synth_assets.core.roofline import memory_bytes

MOST_GPUS = 4096
"""No group of servers that shares one model is larger."""

GPUS_PER_MACHINE = 8
"""Links between GPUs end at the machine; a larger group is taken only where nothing smaller holds the model."""


@dataclass(frozen=True)
class Split:
    """`replicas` servers of `tensor_parallel` GPUs each."""

    replicas: int
    tensor_parallel: int

    def __str__(self) -> str:
        if self.tensor_parallel == 1:
            return "1 GPU" if self.replicas == 1 else f"{self.replicas} replicas of 1 GPU"
        if self.replicas == 1:
            return f"tensor parallel over {self.tensor_parallel} GPUs"
        return f"{self.replicas} replicas of {self.tensor_parallel} GPUs"


def possible_splits(arch: ModelArchitecture, hardware: Hardware, context_tokens: float) -> list[Split]:
    """The divisions of all GPUs in which each replica holds the weights and one sequence; smallest groups first.

    Servers divide attention heads evenly, so a group's size divides their number; all GPUs as one group always count.
    Empty where the model does not fit.
    """
    heads = arch.d_attn // arch.head_dim
    sizes = [size for size in range(1, hardware.count + 1) if hardware.count % size == 0]
    fitting = [
        Split(hardware.count // size, size)
        for size in sizes
        if (heads % size == 0 or size == hardware.count)
        and memory_bytes(arch, hardware.of(size), 1, context_tokens).max_sequences >= 1
    ]
    within_machine = [split for split in fitting if split.tensor_parallel <= GPUS_PER_MACHINE]
    return within_machine or fitting[:1]


def gpus_needed(arch: ModelArchitecture, gpu: Gpu, context_tokens: float) -> int | None:
    """The least number of GPUs, a power of two, that holds the weights and one sequence.

    None where no number does: beyond the number of KV heads each GPU holds a copy of the cache.
    """
    counts = (2**power for power in range(MOST_GPUS.bit_length()))
    holding = (
        count for count in counts if memory_bytes(arch, Hardware(gpu, count, 0.0), 1, context_tokens).max_sequences >= 1
    )
    return next(holding, None)


def holding(arch: ModelArchitecture, hardware: Hardware, context_tokens: float) -> Hardware:
    """The hardware, or where it does not hold weights and one sequence, as many of them as do, if any number does."""
    if possible_splits(arch, hardware, context_tokens):
        return hardware
    return hardware.of(gpus_needed(arch, hardware.gpu, context_tokens) or hardware.count)
