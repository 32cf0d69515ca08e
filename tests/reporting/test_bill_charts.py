"""What the charts of waste and of estimates show; how they look is for the eye."""

from __future__ import annotations

from typing import Any

from synth_assets.reporting.estimate_chart import estimate_chart
from synth_assets.reporting.waste_chart import waste_chart


def wasted(strategy: str, kind: str, cost_usd: float | None) -> dict[str, Any]:
    return {"strategy": strategy, "kind": kind, "reason": "any", "cost_usd": cost_usd}


def estimated(strategy: str, answers_before: int, relative_error: float | None, model: str = "small") -> dict[str, Any]:
    return {
        "strategy": strategy, "model": model, "answers_before": answers_before, "requests": 9,
        "relative_error": relative_error,
    }  # fmt: skip


def line_layer(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The lines of the chart of estimates, and the rows that they join."""
    spec = estimate_chart(rows).to_dict()
    (layer,) = (layer for layer in spec["layer"] if layer["mark"]["type"] == "line")
    return layer, spec["datasets"][layer["data"]["name"]]


def test_waste_is_summed_by_strategy_and_kind() -> None:
    chart = waste_chart([wasted("distill", "cut", 1.0), wasted("distill", "cut", 0.5), wasted("judge", "failed", None)])
    (bars,) = chart.to_dict()["datasets"].values()
    found = {(bar["strategy"], bar["kind"]): bar["cost_usd"] for bar in bars}
    assert found == {("distill", "cut"): 1.5, ("judge", "failed"): 0.0}


def test_an_empty_ledger_stands_at_the_left_end_of_the_logarithmic_axis() -> None:
    lines, points = line_layer([estimated("distill", 0, 0.6), estimated("distill", 250, 0.1)])
    assert [point["answers"] for point in points] == [1, 250]
    assert [point["answers_before"] for point in points] == [0, 250]
    assert lines["encoding"]["x"]["axis"]["values"] == [1, 10, 100]


def test_two_models_of_a_strategy_are_two_lines_and_what_has_no_error_is_left_out() -> None:
    rows = [estimated("distill", 0, 0.6), estimated("distill", 0, 0.2, "tall"), estimated("judge", 0, None)]
    _, points = line_layer(rows)
    assert [point["line"] for point in points] == ["distill (small)", "distill (tall)"]
