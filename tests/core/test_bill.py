"""The bill: each row with its own model, cached tokens apart, and waste as a part of the whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.inference import ServedModel
from synth_assets.core.bill import BillModels, Load, Prices, cost_rows
from synth_assets.core.cost import estimate
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.token_prices import token_prices
from synth_assets.core.waste import WastedCalls, waste_rows

HARDWARE = Hardware.parse("4xH100-SXM")
TOKENS = st.integers(0, 10**9)


def used(strategy: str = "distill", model: str = "Llama-3.1-8B", **figures: int) -> dict[str, Any]:
    return {
        "strategy": strategy, "model": model, "requests": 1000, "prompt_tokens": 600_000, "cached_prompt_tokens": 0,
        "completion_tokens": 200_000, "estimated_prompt_tokens": 600_000, "estimated_completion_tokens": 300_000,
        **figures,
    }  # fmt: skip


def bill(*usage: dict[str, Any], wasted: dict[tuple[str, str], float] | None = None) -> list[dict[str, Any]]:
    return cost_rows(usage, BillModels([]), HARDWARE, wasted or {})


def calls(kind: str = "dropped", **figures: Any) -> WastedCalls:
    return WastedCalls(
        **{
            "strategy": "distill", "model": "Llama-3.1-8B", "kind": kind, "reason": "too_short", "requests": 10,
            "prompt_tokens": 6_000, "cached_prompt_tokens": 0, "completion_tokens": 2_000, **figures,
        }
    )  # fmt: skip


def test_each_row_is_billed_with_its_own_models_figures() -> None:
    small, large, total = bill(used(model="SmolLM2-135M-Instruct"), used("judge"))
    assert large["flops"] > 30 * small["flops"]
    assert large["gpu_hours"] > small["gpu_hours"]
    assert total["flops"] == pytest.approx(small["flops"] + large["flops"])
    assert total["cost_usd"] == pytest.approx(small["cost_usd"] + large["cost_usd"])


def test_a_model_at_hand_is_read_and_an_unknown_one_is_named_once() -> None:
    models = BillModels([ServedModel("SmolLM2-135M-Instruct"), None])
    cost_rows([used(model="mystery-7b"), used("judge", "mystery-7b"), used("faq", "Qwen3-8B")], models, HARDWARE, {})
    assert len(models.warnings) == 1
    assert "mystery-7b" in models.warnings[0]


def test_prompt_tokens_from_the_cache_are_listed_apart_and_not_billed() -> None:
    whole, _ = bill(used())
    cached, total = bill(used(cached_prompt_tokens=400_000))
    assert cached["prompt_tokens"] == whole["prompt_tokens"]
    assert cached["cached_prompt_tokens"] == total["cached_prompt_tokens"] == 400_000
    assert whole["cost_usd"] > cached["cost_usd"] > 0
    assert cached["flops"] == pytest.approx(whole["flops"] - 2 * find("Llama-3.1-8B").active_params * 400_000)
    assert cached["estimated_cost_usd"] == whole["estimated_cost_usd"]


def test_waste_stands_beside_its_strategy_and_in_the_total() -> None:
    distill, judge, total = bill(used(), used("judge"), wasted={("distill", "Llama-3.1-8B"): 1.5, ("judge", "x"): 0.5})
    assert (distill["wasted_cost_usd"], judge["wasted_cost_usd"], total["wasted_cost_usd"]) == (1.5, 0.0, 2.0)


def test_nothing_bought_is_a_total_of_nothing() -> None:
    (total,) = bill()
    assert (total["strategy"], total["requests"], total["cost_usd"], total["cached_prompt_tokens"]) == (
        "total",
        0,
        0,
        0,
    )


@given(
    prompt=TOKENS,
    completion=TOKENS,
    requests=st.integers(1, 10**6),
    parts=st.lists(st.floats(0, 1), max_size=5),
    reached=st.floats(0.1, 10),
)
def test_parts_of_a_bill_cost_as_much_as_the_whole(
    prompt: int, completion: int, requests: int, parts: list[float], reached: float
):
    arch = find("Qwen3-8B")
    # A request has room for some thousand tokens; more would not fit the hardware.
    prompt, completion = min(prompt, 4000 * requests), min(completion, 4000 * requests)
    prices = token_prices(arch, HARDWARE, requests, prompt, completion, 64, reached)
    if not (prompt or completion):
        assert prices.gpu_hours(1, 1) == 0
        return
    whole = estimate(arch, HARDWARE, requests, prompt, completion, 64, reached).gpu_hours
    assert prices.gpu_hours(prompt, completion) == pytest.approx(whole)
    shares = [part / (sum(parts) or 1) for part in parts]
    pieces = sum(prices.gpu_hours(prompt * share, completion * share) for share in shares)
    assert pieces == pytest.approx(whole * sum(shares), rel=1e-6, abs=1e-12)


def test_everything_wasted_costs_what_the_bill_says() -> None:
    usage = used(cached_prompt_tokens=50_000)
    row, _ = bill(usage)
    everything = calls(requests=1000, prompt_tokens=600_000, cached_prompt_tokens=50_000, completion_tokens=200_000)
    (wasted,) = waste_rows([everything], Prices([usage], BillModels([]), HARDWARE).of, HARDWARE)
    assert wasted["cost_usd"] == pytest.approx(row["cost_usd"])
    assert wasted["gpu_hours"] == pytest.approx(row["gpu_hours"])


def test_each_model_is_priced_at_the_pace_of_its_own_server_and_so_is_its_waste() -> None:
    paces = {"Qwen3-8B": Load(8, 0.5), "Llama-3.1-8B": Load(64, 2.0)}
    models = BillModels([], lambda model, _hardware: paces[model.name])
    usage = [used(model="Qwen3-8B", cached_prompt_tokens=50_000), used("judge")]
    for row, each in zip(cost_rows(usage, models, HARDWARE, {}), usage, strict=False):
        arch, load = find(each["model"]), paces[each["model"]]
        expected = estimate(arch, HARDWARE, 1000, 600_000, 300_000, load.in_flight, load.reached)
        assert row["estimated_cost_usd"] == pytest.approx(expected.cost_usd)
        figures = {name: each[name] for name in ("requests", "prompt_tokens", "cached_prompt_tokens")}
        everything = calls(strategy=each["strategy"], model=each["model"], completion_tokens=200_000, **figures)
        (wasted,) = waste_rows([everything], Prices(usage, models, HARDWARE).of, HARDWARE)
        assert wasted["cost_usd"] == pytest.approx(row["cost_usd"])


def test_failed_calls_have_a_price_where_none_was_ever_answered() -> None:
    failed = calls("failed", completion_tokens=0)
    refused = calls("failed", prompt_tokens=0, completion_tokens=0)
    dear, free = waste_rows([failed, refused], Prices([], BillModels([]), HARDWARE).of, HARDWARE)
    assert dear["cost_usd"] > 0 == free["cost_usd"]
    assert (dear["requests"], free["requests"]) == (10, 10)


def test_a_model_that_does_not_fit_is_billed_on_as_many_gpus_as_it_needs() -> None:
    one = Hardware.parse("L40S")
    rows = cost_rows([used(), used("judge", "Llama-3.3-70B")], BillModels([]), one, {})
    assert [row["hardware"] for row in rows] == ["1xL40S", "4xL40S", "1xL40S"]
    assert rows[1]["cost_usd"] > rows[0]["cost_usd"] > 0
    waste = Prices([used("judge", "Llama-3.3-70B")], BillModels([]), one).of(
        calls(strategy="judge", model="Llama-3.3-70B")
    )
    assert waste.completion_gpu_hours > 0


def test_answers_of_which_no_tokens_are_known_are_in_the_bill_and_cost_nothing() -> None:
    tokens = ("prompt_tokens", "completion_tokens", "estimated_prompt_tokens", "estimated_completion_tokens")
    row, _ = bill(used(**dict.fromkeys(tokens, 0)))
    assert (row["requests"], row["cost_usd"]) == (1000, 0)
