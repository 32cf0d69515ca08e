"""What a real server makes of the roofline: expected tokens per second, and MFU and MBU of a measured rate.

In: the two named assumptions that turn ideal times into expected ones, and utilization of a measured rate.
Out: the ideal times themselves (`roofline`) and what a number of requests costs (`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass

from resources.errors import SettingError
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Gpu, Hardware
from synth_assets.core.roofline import DecodeStep, decode_step, memory_bytes

ROOFLINE_EFFICIENCY = 0.7
"""Share of the ideal bandwidth or peak that kernels reach. Together with `STEP_OVERHEAD_SECONDS` it is fitted
to datatrove's public benchmark (vLLM 0.15, H100, server defaults, prompts taken as 1,100 and answers as 1,000
tokens): four of six cases come out within 15%, Qwen3-30B-A3B 33% too low on one GPU and 31% too high on
two."""

STEP_OVERHEAD_SECONDS = 0.004
"""What the server does between two steps, whatever the model: scheduling, sampling, detokenization."""


@dataclass(frozen=True)
class Throughput:
    """Expected pace of a server under steady load. Seconds are of the whole server, not of one request."""

    sequences: float
    """Sequences decoded at once: the concurrency, or as many as the memory holds."""
    prefill_seconds_per_request: float
    decode_seconds_per_token: float
    step: DecodeStep
    prompt_tokens: float
    completion_tokens: float

    @property
    def requests_per_second(self) -> float:
        """Finished requests per second."""
        return 1 / (self.prefill_seconds_per_request + self.completion_tokens * self.decode_seconds_per_token)

    @property
    def output_tokens_per_second(self) -> float:
        """Generated tokens per second, with the time that prefill takes away."""
        return self.completion_tokens * self.requests_per_second

    @property
    def limit(self) -> str:
        """What limits the server, in words."""
        decode_seconds = self.completion_tokens * self.decode_seconds_per_token
        share = decode_seconds * self.requests_per_second
        if share < 0.5:
            return f"prefill arithmetic ({1 - share:.0%} of the time)"
        ideal_seconds = self.step.seconds / ROOFLINE_EFFICIENCY
        if ideal_seconds < STEP_OVERHEAD_SECONDS:
            return f"the server's own work between steps ({STEP_OVERHEAD_SECONDS * 1e3:.0f} ms a step)"
        if not self.step.is_memory_bound:
            return f"decode arithmetic at {self.sequences:,.0f} sequences"
        parts = {
            "weights": self.step.weight_bytes,
            "KV cache": self.step.kv_bytes,
            "recurrent state": self.step.state_bytes,
        }
        largest = max(parts, key=lambda part: parts[part])
        return (
            f"memory bandwidth in decode at {self.sequences:,.0f} sequences "
            f"({largest}: {parts[largest] / self.step.bytes_touched:.0%} of the bytes)"
        )


def throughput_estimate(
    arch: ModelArchitecture,
    hardware: Hardware,
    concurrency: float,
    prompt_tokens: float,
    completion_tokens: float,
) -> Throughput:
    """Expected pace at `concurrency` requests in flight of that mean prompt and completion length.

    Raises SettingError when the weights and one sequence do not fit the hardware.
    """
    context = prompt_tokens + completion_tokens / 2
    fitting = memory_bytes(arch, hardware, 1, prompt_tokens + completion_tokens).max_sequences
    if fitting < 1:
        raise SettingError(
            f"COST_HARDWARE={hardware.name!r} has {hardware.memory_bytes / 1e9:,.0f} GB, too little for "
            f"{arch.name}: {arch.weight_bytes / 1e9:,.0f} GB of weights and one sequence of its caches.",
            "Accepted: more or larger GPUs, for example 4xH100-SXM.",
        )
    sequences = max(1.0, min(concurrency, memory_bytes(arch, hardware, 1, context).max_sequences))
    step = decode_step(arch, hardware, sequences, context)
    seconds = step.seconds / ROOFLINE_EFFICIENCY + STEP_OVERHEAD_SECONDS
    prefill_flops = 2 * prompt_tokens * (arch.active_params + arch.attention_layers * arch.d_attn * prompt_tokens)
    peak = hardware.peak_flops_per_second(arch.bytes_per_param)
    return Throughput(
        sequences=sequences,
        prefill_seconds_per_request=prefill_flops / peak / ROOFLINE_EFFICIENCY,
        decode_seconds_per_token=seconds / sequences,
        step=step,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


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
