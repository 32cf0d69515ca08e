"""The bill: what each strategy and model has used, beside what was expected, in FLOPs, GPU-hours and dollars.

In: usage by strategy and model, and the architecture of each of those models. Out: counting usage (`resources.ledger`),
the arithmetic of one estimate (`cost`), waste (`waste`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from resources.inference import ServedModel
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY, CostEstimate, estimate, total
from synth_assets.core.costing import CostModel, cost_model
from synth_assets.core.gpu_split import holding
from synth_assets.core.hardware import Hardware
from synth_assets.core.token_prices import TokenPrices, token_prices
from synth_assets.core.waste import WastedCalls

Usage = Mapping[str, Any]
"""One row of `Ledger.usage_by_strategy`: totals of one strategy and model."""

_FIGURES = ("requests", "prompt_tokens", "completion_tokens", "flops", "gpu_hours", "cost_usd")


class BillModels:
    """The architecture behind each model name of the ledger; `served` are models whose weights may be at hand."""

    def __init__(self, served: Iterable[ServedModel | None]) -> None:
        self._served = {model.name: model for model in served if model is not None}
        self._known: dict[str, CostModel] = {}

    def architecture(self, model_name: str) -> ModelArchitecture:
        """The model's own; a stand-in, with a warning, where it is not known."""
        if model_name not in self._known:
            self._known[model_name] = cost_model(self._served.get(model_name, ServedModel(model_name)))
        return self._known[model_name].architecture

    @property
    def warnings(self) -> list[str]:
        """What was said of the models asked for so far, each once."""
        return sorted({known.warning for known in self._known.values() if known.warning})


class Prices:
    """What a token of each strategy and model costs, on as many of the GPUs as its model needs."""

    def __init__(
        self,
        usage: Iterable[Usage],
        models: BillModels,
        hardware: Hardware,
        concurrency: float = DEFAULT_CONCURRENCY,
    ) -> None:
        self._usage = {(used["strategy"], used["model"]): used for used in usage}
        self._models = models
        self._hardware = hardware
        self._concurrency = concurrency

    def of(self, calls: WastedCalls) -> TokenPrices:
        """As in the bill; from the calls themselves where no call of that strategy and model was answered."""
        used = self._usage.get((calls.strategy, calls.model)) or vars(calls)
        arch = self._models.architecture(calls.model)
        hardware = _holding(arch, self._hardware, used)
        requests, prompt_tokens, completion_tokens = (
            used[name] for name in ("requests", "prompt_tokens", "completion_tokens")
        )
        return token_prices(arch, hardware, requests, prompt_tokens, completion_tokens, self._concurrency)


def cost_rows(
    usage: Sequence[Usage],
    models: BillModels,
    hardware: Hardware,
    wasted_usd: Mapping[tuple[str, str], float],
    concurrency: float = DEFAULT_CONCURRENCY,
) -> list[dict[str, Any]]:
    """Rows of `reports.cost`: one for each row of usage with its own model's figures, and their sum.

    Each is priced with `concurrency` requests in flight, as in the plan, and on as many of the GPUs as its model needs.
    Prompt tokens from the server's cache are neither computed nor billed; the cache itself is, as every context is.
    """
    rows, actuals, expected = [], [], []
    for used in usage:
        arch = models.architecture(used["model"])
        own = _holding(arch, hardware, used)
        actual = _actual(arch, own, used, concurrency)
        before = estimate(
            arch,
            own,
            used["requests"],
            used["estimated_prompt_tokens"],
            used["estimated_completion_tokens"],
            concurrency,
        )
        actuals.append(actual)
        expected.append(before)
        wasted = wasted_usd.get((used["strategy"], used["model"]), 0.0)
        rows.append(_row(used["strategy"], used["model"], own, actual, before, _cached(used), wasted))
    cached = sum(map(_cached, usage))
    wasted = sum(wasted_usd.values())
    return [*rows, _row("total", None, hardware, total(actuals), total(expected), cached, wasted)]


def _holding(arch: ModelArchitecture, hardware: Hardware, used: Usage) -> Hardware:
    """More of the GPUs where a model needs them, such as a large judge: one row without a price would leave no bill."""

    def tokens(prefix: str) -> int:
        return sum(used.get(f"{prefix}{side}_tokens") or 0 for side in ("prompt", "completion"))

    return holding(arch, hardware, max(tokens(""), tokens("estimated_")) / max(used["requests"], 1))


def _cached(used: Usage) -> int:
    return used["cached_prompt_tokens"] or 0


def _actual(arch: ModelArchitecture, hardware: Hardware, used: Usage, concurrency: float) -> CostEstimate:
    requests, prompt_tokens, completion_tokens = (
        used[name] for name in ("requests", "prompt_tokens", "completion_tokens")
    )
    whole = estimate(arch, hardware, requests, prompt_tokens, completion_tokens, concurrency)
    prices = token_prices(arch, hardware, requests, prompt_tokens, completion_tokens, concurrency)
    saved = prices.gpu_hours(_cached(used), 0)
    gpu_hours = whole.gpu_hours - saved
    return replace(
        whole,
        flops=whole.flops - 2 * arch.active_params * _cached(used),
        wall_seconds=whole.wall_seconds - saved * 3600 / hardware.count,
        gpu_hours=gpu_hours,
        cost_usd=gpu_hours * hardware.usd_per_gpu_hour,
    )


def _row(
    strategy: str,
    model: str | None,
    hardware: Hardware,
    actual: CostEstimate,
    before: CostEstimate,
    cached_prompt_tokens: int,
    wasted_cost_usd: float,
) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "model": model,
        "hardware": hardware.name,
        **{name: getattr(actual, name) for name in _FIGURES},
        **{f"estimated_{name}": getattr(before, name) for name in _FIGURES},
        "cached_prompt_tokens": cached_prompt_tokens,
        "wasted_cost_usd": wasted_cost_usd,
    }
