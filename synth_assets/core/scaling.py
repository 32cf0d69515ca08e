"""The two questions before a large run: what ten or a thousand times the documents take, and dense or
mixture?

In: tables computed from one estimate, with what limits in words. Out: the estimate itself (`cost`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resources.errors import SettingError
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY, CostEstimate, estimate
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO
from synth_assets.core.roofline import CriticalBatch, critical_batch, flops_per_token
from synth_assets.core.throughput import throughput_estimate

CLIENT_REQUESTS_PER_SECOND = 750.0
"""What one client process does with answers after 50 ms, 64 in flight, documents of 2 KB, on 2 cores: the whole asset,
segments to table (`benchmarks/throughput.py`)."""

LEDGER_ROWS_PER_SECOND = 2300.0
"""Answers that one writer keeps: 64 a commit, which takes 28 ms on the embedded catalogue (`benchmarks/NOTES.md`)."""

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class ScalingRow:
    """The bill for `factor` times the documents on the same hardware."""

    factor: int
    documents: int
    estimate: CostEstimate
    documents_per_second: float
    """Of the whole pipeline: the slowest of server, client and ledger."""
    gpus_for_one_day: int
    """GPUs of this kind that finish it in 24 hours, if throughput grows with them."""
    clients_for_one_day: int
    limit: str


@dataclass(frozen=True)
class ModelComparison:
    """One model's side of a comparison; rates and bills are None where it does not fit the hardware."""

    architecture: ModelArchitecture
    flops_per_token: float
    weight_bytes: float
    cache_bytes_per_sequence: float
    critical_batch: CriticalBatch
    output_tokens_per_second: float | None
    estimate: CostEstimate | None


def scaling_table(
    base: CostEstimate,
    documents: int,
    arch: ModelArchitecture,
    hardware: Hardware,
    *,
    factors: Sequence[int] = (1, 10, 100, 1000),
    concurrency: float = DEFAULT_CONCURRENCY,
    reached: float = 1.0,
) -> list[ScalingRow]:
    """One row for each factor; empty where `base` has no request. `reached` as in `estimate`."""
    if base.requests == 0 or documents == 0:
        return []
    return [
        _scaling_row(
            factor,
            documents * factor,
            estimate(
                arch,
                hardware,
                base.requests * factor,
                base.prompt_tokens * factor,
                base.completion_tokens * factor,
                concurrency,
                reached,
            ),
            _server_limit(base, factor, arch, hardware, concurrency),
        )
        for factor in factors
    ]


def _scaling_row(factor: int, documents: int, bill: CostEstimate, server_limit: str) -> ScalingRow:
    server_rate = bill.requests / bill.wall_seconds if bill.wall_seconds else math.inf
    rates = {
        f"server, {server_limit}": server_rate,
        "client, one process": CLIENT_REQUESTS_PER_SECOND,
        "ledger, one writer": LEDGER_ROWS_PER_SECOND,
    }
    slowest = min(rates, key=lambda name: rates[name])
    others = ", ".join(f"{name.split(',')[0]} {rate:,.0f}" for name, rate in rates.items() if name != slowest)
    rate_for_one_day = bill.requests / SECONDS_PER_DAY
    return ScalingRow(
        factor=factor,
        documents=documents,
        estimate=bill,
        documents_per_second=rates[slowest] * documents / bill.requests,
        gpus_for_one_day=max(1, math.ceil(bill.gpu_hours / 24)),
        clients_for_one_day=max(1, math.ceil(rate_for_one_day / CLIENT_REQUESTS_PER_SECOND)),
        limit=f"{slowest}: {rates[slowest]:,.1f} requests/s (the others could do: {others})",
    )


def _server_limit(
    base: CostEstimate,
    factor: int,
    arch: ModelArchitecture,
    hardware: Hardware,
    concurrency: float,
) -> str:
    return throughput_estimate(
        arch,
        hardware,
        min(concurrency, base.requests * factor),
        base.prompt_tokens / base.requests,
        base.completion_tokens / base.requests,
    ).limit.words


def compare_dense_and_moe(
    hardware: Hardware,
    requests: int,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    dense: ModelArchitecture = DENSE_8B,
    moe: ModelArchitecture = NEMOTRON_3_NANO,
    concurrency: float = DEFAULT_CONCURRENCY,
) -> list[ModelComparison]:
    """The same requests on a dense model and on a mixture of experts; empty where there is no request."""
    if requests == 0:
        return []
    return [_compare(arch, hardware, requests, prompt_tokens, completion_tokens, concurrency) for arch in (dense, moe)]


def _compare(
    arch: ModelArchitecture,
    hardware: Hardware,
    requests: int,
    prompt_tokens: int,
    completion_tokens: int,
    concurrency: float,
) -> ModelComparison:
    prompt, completion = prompt_tokens / requests, completion_tokens / requests
    context = prompt + completion / 2
    try:
        bill = estimate(arch, hardware, requests, prompt_tokens, completion_tokens, concurrency)
    except SettingError:
        bill = None
    return ModelComparison(
        architecture=arch,
        flops_per_token=flops_per_token(arch, context),
        weight_bytes=arch.weight_bytes,
        cache_bytes_per_sequence=arch.sequence_bytes(context),
        critical_batch=critical_batch(arch, hardware),
        output_tokens_per_second=completion_tokens / bill.wall_seconds if bill else None,
        estimate=bill,
    )


def conclusion(rows: Sequence[ModelComparison]) -> str:
    """What a comparison says, in words: arithmetic, memory, and which one costs less on this hardware."""
    lean = min(rows, key=lambda row: row.flops_per_token)
    heavy = max(rows, key=lambda row: row.flops_per_token)
    large = max(rows, key=lambda row: row.weight_bytes)
    words = [
        f"{lean.architecture.name} needs the least arithmetic: {lean.flops_per_token / 1e9:,.1f} GFLOPs a "
        f"token, {lean.flops_per_token / heavy.flops_per_token:.0%} of {heavy.architecture.name}.",
        f"{large.architecture.name} needs the most memory: {large.weight_bytes / 1e9:,.0f} GB of weights.",
    ]
    priced = [(row.estimate.gpu_hours, row.architecture.name) for row in rows if row.estimate]
    if len(priced) > 1:
        (few, cheap), (many, dear) = min(priced), max(priced)
        words.append(f"On this hardware {cheap} takes {few:,.3g} GPU-hours and {dear} {many:,.3g}.")
    for row in rows:
        if row.estimate is None:
            words.append(f"{row.architecture.name} does not fit this hardware.")
    return " ".join(words)
