"""Model against model and GPU against GPU for the requests of the bill.

In: the bill's totals put to the roofline for every known GPU and some models. Out: the arithmetic (`core.sizing`),
budgets (`budget_data`), growth of the corpus (`cost_data`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.errors import SettingError
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY, CostEstimate
from synth_assets.core.hardware import GPUS, Hardware
from synth_assets.core.models import CATALOGUE
from synth_assets.core.sizing import sizing

COMPARED_MODELS = ("Llama-3.1-8B", "Nemotron-3-Nano-30B-A3B", "Qwen3-30B-A3B", "gpt-oss-20b", "SmolLM2-1.7B")
"""Two kinds of each size that people rephrase with: dense, mixture of experts, with recurrent state."""


@dataclass(frozen=True)
class Choice:
    """One model on so many GPUs of one kind; figures are None where it does not fit."""

    model: str
    hardware: str
    gpu: str
    output_tokens_per_second: float | None = None
    gpu_hours: float | None = None
    cost_usd: float | None = None
    usd_per_million_output_tokens: float | None = None
    limit: str = "does not fit"


def choices(base: CostEstimate, main: ModelArchitecture, gpu_count: int) -> list[Choice]:
    """Every known GPU, as many of each, with the main model and those of `COMPARED_MODELS`; catalogue prices."""
    if base.requests == 0 or base.completion_tokens == 0:
        return []
    models = [main, *(arch for arch in CATALOGUE if arch.name in COMPARED_MODELS and arch.name != main.name)]
    return [_choice(base, arch, Hardware(gpu, gpu_count, gpu.usd_per_hour)) for arch in models for gpu in GPUS]


def _choice(base: CostEstimate, arch: ModelArchitecture, hardware: Hardware) -> Choice:
    prompt, completion = base.prompt_tokens / base.requests, base.completion_tokens / base.requests
    try:
        sized = sizing(arch, hardware, prompt, completion, DEFAULT_CONCURRENCY)
    except SettingError:
        return Choice(arch.name, hardware.name, hardware.gpu.name)
    bill = sized.bill(base.requests)
    return Choice(
        model=arch.name,
        hardware=hardware.name,
        gpu=hardware.gpu.name,
        output_tokens_per_second=sized.output_tokens_per_second,
        gpu_hours=bill.gpu_hours,
        cost_usd=bill.cost_usd,
        usd_per_million_output_tokens=sized.usd_per_million_output_tokens,
        limit=sized.limit,
    )


def cheapest(rows: Sequence[Choice], model: str | None = None) -> Choice | None:
    """The choice of the fewest dollars, of one model or of all."""
    priced = [row for row in rows if row.cost_usd is not None and model in (None, row.model)]
    return min(priced, key=lambda row: row.cost_usd or 0.0, default=None)


def in_words(rows: Sequence[Choice], main: str) -> str:
    """What the comparison says: the cheapest for the model there is, and the cheapest of all."""
    own, best = cheapest(rows, main), cheapest(rows)
    if own is None or best is None or not own.cost_usd or not best.cost_usd:
        return f"{main} does not fit any of these GPUs."
    dearest_usd = max(row.cost_usd or 0.0 for row in rows if row.model == main)
    dearest = next(row for row in rows if row.model == main and row.cost_usd == dearest_usd)
    words = f"{main} costs least on {own.hardware}, and {dearest_usd / own.cost_usd:.1f} times as much on "
    words += f"{dearest.hardware}."
    if best.model != main:
        words += (
            f" The same requests cost least of all with {best.model} on {best.hardware}: "
            f"{best.cost_usd / own.cost_usd:.0%} of that."
        )
    return words
