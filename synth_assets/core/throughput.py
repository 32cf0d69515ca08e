"""What a real server makes of the roofline: expected tokens per second, and MFU and MBU of a measured rate.

In: the named assumptions that turn ideal times into expected ones, the spread that remains, and utilization of a
measured rate. Out: the ideal times themselves (`roofline`), the public figures that the assumptions are fitted to
(`public_figures`), and what a number of requests costs (`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from resources.errors import SettingError
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.gpu_split import Split, gpus_needed, possible_splits
from synth_assets.core.hardware import Gpu, Hardware
from synth_assets.core.roofline import DecodeStep, all_reduce_seconds, decode_step, memory_bytes, prefill_flops

ROOFLINE_EFFICIENCY = 0.85
"""Share of the ideal bandwidth that decode reaches. This and the three below are fitted to `public_figures`: half of
the 24 come out within 11%, and all but two within 30%. The optimum is flat."""

COMPUTE_EFFICIENCY = 0.6
"""Share of the peak that arithmetic reaches, in prefill and in decode. The fit hardly depends on it (0.5 to 0.8)."""

STEP_OVERHEAD_SECONDS = 0.002
"""What the server does between two steps, whatever the model and the batch."""

SEQUENCE_OVERHEAD_SECONDS = 26e-6
"""What it does in each step for each sequence: scheduling, sampling, detokenization. It bounds one server at 38,000
tokens/s; small models get near."""

LOW_FACTOR = 0.75
HIGH_FACTOR = 1.4
"""Between these multiples of the prediction lie all but one of the 24 public figures that it is fitted to."""


LimitKind = Literal["memory bandwidth", "arithmetic", "exchange between GPUs", "the server's own work"]


@dataclass(frozen=True)
class Limit:
    """What limits a server: of which kind it is, and with figures for people."""

    kind: LimitKind
    words: str


@dataclass(frozen=True)
class Throughput:
    """Expected pace of the whole hardware under steady load. Seconds are of all servers, not of one request."""

    sequences: float
    """Sequences decoded at once on all replicas: the concurrency, or as many as the memory holds."""
    prefill_seconds_per_request: float
    decode_seconds_per_token: float
    step: DecodeStep
    """Of one replica."""
    prompt_tokens: float
    completion_tokens: float
    split: Split

    @property
    def busy_replicas(self) -> float:
        """Replicas that have a sequence to decode."""
        return self.sequences / self.step.batch

    @property
    def decode_bytes_per_second(self) -> float:
        """What all replicas together move in decode."""
        return self.step.bytes_touched / self.step.batch * self.output_tokens_per_second

    @property
    def requests_per_second(self) -> float:
        """Finished requests per second."""
        return 1 / (self.prefill_seconds_per_request + self.completion_tokens * self.decode_seconds_per_token)

    @property
    def output_tokens_per_second(self) -> float:
        """Generated tokens per second, with the time that prefill takes away."""
        return self.completion_tokens * self.requests_per_second

    @property
    def low_tokens_per_second(self) -> float:
        """The low end of what is likely: see LOW_FACTOR."""
        return LOW_FACTOR * self.output_tokens_per_second

    @property
    def high_tokens_per_second(self) -> float:
        """The high end of what is likely: see HIGH_FACTOR."""
        return HIGH_FACTOR * self.output_tokens_per_second

    @property
    def limit(self) -> Limit:
        """What limits the server."""
        decode_seconds = self.completion_tokens * self.decode_seconds_per_token
        share = decode_seconds * self.requests_per_second
        if share < 0.5:
            return Limit("arithmetic", f"prefill arithmetic ({1 - share:.0%} of the time)")
        kernel_seconds = _kernel_seconds(self.step)
        overhead_seconds = _overhead_seconds(self.step)
        exchange_seconds = self.step.communication_seconds
        if exchange_seconds > max(kernel_seconds, overhead_seconds):
            words = f"the exchange between {self.split.tensor_parallel} GPUs ({exchange_seconds * 1e3:.1f} ms a step)"
            return Limit("exchange between GPUs", words)
        if overhead_seconds > kernel_seconds:
            words = f"the server's own work between steps ({overhead_seconds * 1e3:.1f} ms a step)"
            return Limit("the server's own work", words)
        if not self.step.is_memory_bound:
            return Limit("arithmetic", f"decode arithmetic at {self.sequences:,.0f} sequences")
        parts = {
            "weights": self.step.weight_bytes,
            "KV cache": self.step.kv_bytes,
            "recurrent state": self.step.state_bytes,
        }
        largest = max(parts, key=lambda part: parts[part])
        return Limit(
            "memory bandwidth",
            f"memory bandwidth in decode at {self.sequences:,.0f} sequences "
            f"({largest}: {parts[largest] / self.step.bytes_touched:.0%} of the bytes)",
        )


def throughput_estimate(
    arch: ModelArchitecture,
    hardware: Hardware,
    concurrency: float,
    prompt_tokens: float,
    completion_tokens: float,
    split: Split | None = None,
) -> Throughput:
    """Expected pace at `concurrency` requests in flight, over all GPUs, of that mean prompt and completion length.

    Without `split`, the division of the GPUs that finishes the most requests. Raises SettingError when the weights and
    one sequence do not fit the hardware.
    """
    splits = [split] if split else possible_splits(arch, hardware, prompt_tokens + completion_tokens)
    if not splits:
        least = gpus_needed(arch, hardware.gpu, prompt_tokens + completion_tokens)
        raise SettingError(
            f"COST_HARDWARE={hardware.name!r} has {hardware.memory_bytes / 1e9:,.0f} GB, too little for "
            f"{arch.name}: {arch.weight_bytes / 1e9:,.0f} GB of weights and one sequence of its caches.",
            f"Accepted: more or larger GPUs, for example {hardware.of(least).name}."
            if least
            else f"No number of them holds {prompt_tokens + completion_tokens:,.0f} tokens at once: shorter texts fit.",
        )
    paces = [_pace(arch, hardware, each, concurrency, prompt_tokens, completion_tokens) for each in splits]
    return max(paces, key=lambda pace: pace.requests_per_second)


def _pace(
    arch: ModelArchitecture,
    hardware: Hardware,
    split: Split,
    concurrency: float,
    prompt_tokens: float,
    completion_tokens: float,
) -> Throughput:
    group = hardware.of(split.tensor_parallel)
    context = prompt_tokens + completion_tokens / 2
    fitting = memory_bytes(arch, group, 1, context).max_sequences
    busy_replicas = min(split.replicas, max(concurrency, 1.0))
    sequences = max(1.0, min(concurrency / busy_replicas, fitting))
    step = decode_step(arch, group, sequences, context)
    step_seconds = _kernel_seconds(step) + step.communication_seconds + _overhead_seconds(step)
    peak = group.peak_flops_per_second(arch.bytes_per_param)
    prefill_seconds = prefill_flops(arch, prompt_tokens) / peak / COMPUTE_EFFICIENCY
    prefill_seconds += all_reduce_seconds(arch, group, prompt_tokens)
    return Throughput(
        sequences=sequences * busy_replicas,
        prefill_seconds_per_request=prefill_seconds / busy_replicas,
        decode_seconds_per_token=step_seconds / (sequences * busy_replicas),
        step=step,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        split=split,
    )


def _kernel_seconds(step: DecodeStep) -> float:
    return max(step.memory_seconds / ROOFLINE_EFFICIENCY, step.compute_seconds / COMPUTE_EFFICIENCY)


def _overhead_seconds(step: DecodeStep) -> float:
    return STEP_OVERHEAD_SECONDS + step.batch * SEQUENCE_OVERHEAD_SECONDS


def mfu(arch: ModelArchitecture, hardware: Hardware | Gpu, tokens_per_second: float) -> float:
    """Model FLOPs utilization, 0 to 1: 2 FLOPs for each active parameter and token, over the peak."""
    return tokens_per_second * 2 * arch.active_params / hardware.peak_flops_per_second(arch.bytes_per_param)


def mbu(
    arch: ModelArchitecture,
    hardware: Hardware | Gpu,
    tokens_per_second: float,
    concurrency: float,
    context_tokens: float = 0,
) -> float:
    """Memory bandwidth utilization, 0 to 1, of decode at that output rate and number of sequences in
    flight."""
    step = decode_step(arch, hardware, concurrency, context_tokens)
    return step.bytes_touched * tokens_per_second / concurrency / hardware.bandwidth_bytes_per_second
