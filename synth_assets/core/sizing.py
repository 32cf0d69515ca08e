"""One model on one hardware for one kind of request: does it fit, how fast is it, what does it cost, what limits it.

In: roofline, throughput and price put together as one value. Out: each of them on its own (`roofline`, `throughput`,
`cost`), and printing a table of many (`commands.size`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import CostEstimate, estimate, usd_per_million_tokens
from synth_assets.core.gpu_split import Split
from synth_assets.core.hardware import Hardware
from synth_assets.core.roofline import CriticalBatch, MemoryUse, critical_batch, memory_bytes
from synth_assets.core.throughput import mfu, throughput_estimate


@dataclass(frozen=True)
class Sizing:
    """What a model makes of some hardware at a concurrency. Rates are of the whole hardware, memory of one replica."""

    architecture: ModelArchitecture
    hardware: Hardware
    prompt_tokens: float
    completion_tokens: float
    concurrency: float
    split: Split
    """The fastest division of the GPUs."""
    memory: MemoryUse
    """Of one replica, at its share of the sequences."""
    max_sequences: int
    """Of that length on all replicas together."""
    critical_batch: CriticalBatch
    """Of one replica at that context; it holds whatever the concurrency."""
    prefill_seconds: float
    """Time that one request's prompt takes of a replica."""
    decode_seconds: float
    """Time from the first to the last token of one answer."""
    output_tokens_per_second: float
    low_tokens_per_second: float
    high_tokens_per_second: float
    mfu: float
    mbu: float
    usd_per_million_output_tokens: float
    limit: str

    def bill(self, requests: int) -> CostEstimate:
        """What so many of these requests take and cost."""
        return estimate(
            self.architecture,
            self.hardware,
            requests,
            round(requests * self.prompt_tokens),
            round(requests * self.completion_tokens),
            self.concurrency,
        )


def sizing(
    arch: ModelArchitecture,
    hardware: Hardware,
    prompt_tokens: float,
    completion_tokens: float,
    concurrency: float,
) -> Sizing:
    """Size requests of that mean length (both over 0), `concurrency` of them in flight over all GPUs.

    Raises SettingError when the weights and one sequence do not fit the hardware.
    """
    pace = throughput_estimate(arch, hardware, concurrency, prompt_tokens, completion_tokens)
    split = pace.split
    group = hardware.of(split.tensor_parallel)
    context = prompt_tokens + completion_tokens / 2
    memory = memory_bytes(arch, group, pace.step.batch, context)
    rate = pace.output_tokens_per_second
    return Sizing(
        architecture=arch,
        hardware=hardware,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        concurrency=concurrency,
        split=split,
        memory=memory,
        max_sequences=memory.max_sequences * split.replicas,
        critical_batch=critical_batch(arch, group, context),
        prefill_seconds=pace.prefill_seconds_per_request * pace.busy_replicas,
        decode_seconds=completion_tokens * pace.decode_seconds_per_token * pace.sequences,
        output_tokens_per_second=rate,
        low_tokens_per_second=pace.low_tokens_per_second,
        high_tokens_per_second=pace.high_tokens_per_second,
        mfu=mfu(arch, hardware, rate),
        mbu=pace.decode_bytes_per_second / hardware.bandwidth_bytes_per_second,
        usd_per_million_output_tokens=usd_per_million_tokens(hardware, rate),
        limit=pace.limit.words,
    )


def cheapest(sizings: Sequence[Sizing]) -> Sizing | None:
    """The one whose output tokens cost the least; None for none."""
    return min(sizings, key=lambda each: each.usd_per_million_output_tokens, default=None)


def conclusion(sizings: Sequence[Sizing]) -> str:
    """What a comparison says, in one sentence: the cheapest, what limits it, and the dearest; empty for none."""
    best = cheapest(sizings)
    if best is None:
        return ""
    words = (
        f"{best.architecture.name} on {best.hardware.name} ({best.split}) costs the least, "
        f"{best.usd_per_million_output_tokens:,.3g} dollars for a million output tokens; what limits it is {best.limit}"
    )
    dearest = max(sizings, key=lambda each: each.usd_per_million_output_tokens)
    if dearest is not best:
        ratio = dearest.usd_per_million_output_tokens / best.usd_per_million_output_tokens
        words += f"; {dearest.architecture.name} on {dearest.hardware.name} costs {ratio:.1f} times as much"
    return words + "."
