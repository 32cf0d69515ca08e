"""The bill: what each strategy and model has used, beside what was expected, in FLOPs, GPU-hours and dollars.

In: usage by strategy and model, and the architecture of each of those models. Out: counting usage (`resources.ledger`),
the arithmetic of one estimate (`cost`), waste (`waste`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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


@dataclass(frozen=True)
class Load:
    """How the server of a model is used: requests in flight, and what it reached of the roofline's throughput."""

    in_flight: float = DEFAULT_CONCURRENCY
    reached: float = 1.0


class Priced(NamedTuple):
    """What calls of one strategy and model are priced with."""

    architecture: ModelArchitecture
    hardware: Hardware
    load: Load


class BillModels:
    """What is behind each model name of the ledger; `served` are models whose weights may be at hand."""

    def __init__(
        self,
        served: Iterable[ServedModel | None],
        load: Callable[[ServedModel, Hardware], Load] = lambda _model, _hardware: Load(),
    ) -> None:
        self._served = {model.name: model for model in served if model is not None}
        self._load = load
        self._known: dict[str, CostModel] = {}

    def architecture(self, model_name: str) -> ModelArchitecture:
        """The model's own; a stand-in, with a warning, where it is not known."""
        if model_name not in self._known:
            self._known[model_name] = cost_model(self._model(model_name))
        return self._known[model_name].architecture

    def priced(self, used: Usage, hardware: Hardware) -> Priced:
        """On more of the GPUs where a model needs them, such as a large judge: one row less would leave no bill."""

        def tokens(prefix: str) -> int:
            return sum(used.get(f"{prefix}{side}_tokens") or 0 for side in ("prompt", "completion"))

        arch = self.architecture(used["model"])
        own = holding(arch, hardware, max(tokens(""), tokens("estimated_")) / max(used["requests"], 1))
        return Priced(arch, own, self._load(self._model(used["model"]), own))

    @property
    def warnings(self) -> list[str]:
        """What was said of the models asked for so far, each once."""
        return sorted({known.warning for known in self._known.values() if known.warning})

    def _model(self, name: str) -> ServedModel:
        return self._served.get(name, ServedModel(name))


class Prices:
    """What a token of each strategy and model costs, as in the bill."""

    def __init__(self, usage: Iterable[Usage], models: BillModels, hardware: Hardware) -> None:
        self._usage = {(used["strategy"], used["model"]): used for used in usage}
        self._models = models
        self._hardware = hardware

    def of(self, calls: WastedCalls) -> TokenPrices:
        """From the calls themselves where no call of that strategy and model was answered."""
        used = self._usage.get((calls.strategy, calls.model)) or vars(calls)
        return _token_prices(self._models.priced(used, self._hardware), used)


def cost_rows(
    usage: Sequence[Usage],
    models: BillModels,
    hardware: Hardware,
    wasted_usd: Mapping[tuple[str, str], float],
) -> list[dict[str, Any]]:
    """Rows of `reports.cost`: one for each row of usage with its own model's figures, and their sum.

    Prompt tokens from the server's cache are neither computed nor billed; the cache itself is, as every context is.
    """
    rows, actuals, expected = [], [], []
    for used in usage:
        priced = models.priced(used, hardware)
        actual, before = _actual(priced, used), _bill(priced, used, "estimated_")
        actuals.append(actual)
        expected.append(before)
        wasted = wasted_usd.get((used["strategy"], used["model"]), 0.0)
        rows.append(_row(used["strategy"], used["model"], priced.hardware, actual, before, _cached(used), wasted))
    cached = sum(map(_cached, usage))
    wasted = sum(wasted_usd.values())
    return [*rows, _row("total", None, hardware, total(actuals), total(expected), cached, wasted)]


def _bill(priced: Priced, used: Usage, prefix: str = "") -> CostEstimate:
    tokens = used[f"{prefix}prompt_tokens"], used[f"{prefix}completion_tokens"]
    load = priced.load
    return estimate(priced.architecture, priced.hardware, used["requests"], *tokens, load.in_flight, load.reached)


def _token_prices(priced: Priced, used: Usage) -> TokenPrices:
    counts = used["requests"], used["prompt_tokens"], used["completion_tokens"]
    return token_prices(priced.architecture, priced.hardware, *counts, priced.load.in_flight, priced.load.reached)


def _cached(used: Usage) -> int:
    return used["cached_prompt_tokens"] or 0


def _actual(priced: Priced, used: Usage) -> CostEstimate:
    whole = _bill(priced, used)
    saved = _token_prices(priced, used).gpu_hours(_cached(used), 0)
    gpu_hours = whole.gpu_hours - saved
    return replace(
        whole,
        flops=whole.flops - 2 * priced.architecture.active_params * _cached(used),
        wall_seconds=whole.wall_seconds - saved * 3600 / priced.hardware.count,
        gpu_hours=gpu_hours,
        cost_usd=gpu_hours * priced.hardware.usd_per_gpu_hour,
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
