"""What a plan's budget buys: offers made of its lines, in dollars or GPU-hours."""

from __future__ import annotations

import pytest

from resources.errors import SettingError
from synth_assets.core.hardware import Hardware
from synth_assets.planning.affordable import what_it_buys
from synth_assets.planning.strategy_plan import StrategyPlan

HARDWARE = Hardware.parse("1xH100-SXM", 2.0)
PLANS = {
    "distill": StrategyPlan(documents_to_generate=128, completion_tokens=12_800, gpu_hours=1.0),
    "wiki_rephrase": StrategyPlan(documents_to_generate=128, completion_tokens=51_200, gpu_hours=4.0),
    "diverse_qa": StrategyPlan(),
}


def documents(bought) -> dict[str, int]:
    return {name: row["documents"] for name, row in bought["strategies"].items()}


def test_dollars_are_divided_alike_and_say_how_many_training_tokens_they_give():
    bought = what_it_buys(PLANS, None, HARDWARE, 2.0, None)
    assert documents(bought) == {"distill": 64, "wiki_rephrase": 16}
    assert bought["total"]["training_tokens"] == 64 * 100 + 16 * 400
    assert bought["total"]["cost_usd"] == 2.0


def test_gpu_hours_are_dollars_at_the_price_and_count_where_hours_are_free():
    by_hours = what_it_buys(PLANS, None, HARDWARE, None, 1.0)
    assert documents(by_hours) == documents(what_it_buys(PLANS, None, HARDWARE, 2.0, None))
    free = Hardware.parse("1xH100-SXM", 0.0)
    assert documents(what_it_buys(PLANS, None, free, 5.0, 1.0)) == documents(by_hours)
    assert documents(what_it_buys(PLANS, None, free, 5.0, None)) == {"distill": 128, "wiki_rephrase": 128}


def test_judging_is_part_of_what_a_document_costs():
    judge = StrategyPlan(gpu_hours=2.0)
    assert documents(what_it_buys(PLANS, judge, HARDWARE, 2.0, None)) == {"distill": 32, "wiki_rephrase": 12}


def test_weights_choose_and_name_what_there_is():
    assert documents(what_it_buys(PLANS, None, HARDWARE, 1.0, None, {"distill": 1.0})) == {
        "distill": 64,
        "wiki_rephrase": 0,
    }
    with pytest.raises(SettingError, match="destill"):
        what_it_buys(PLANS, None, HARDWARE, 1.0, None, {"destill": 1.0})


def test_a_budget_for_everything_buys_everything():
    assert documents(what_it_buys(PLANS, None, HARDWARE, 1e9, None)) == {"distill": 128, "wiki_rephrase": 128}


def test_nothing_missing_costs_nothing():
    assert what_it_buys({"distill": StrategyPlan()}, None, HARDWARE, 1.0, None)["strategies"] == {}
