"""Measured throughput in the lake: plan, budget and bill go by the same of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from resources.inference import ServedModel
from resources.lake import Lake
from synth_assets.assets.measured import bill_models, pace_of, prices_of
from synth_assets.core.bill import Prices, cost_rows
from synth_assets.core.bill_tables import USAGE
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.throughput import throughput_estimate
from synth_assets.core.waste import WastedCalls
from synth_assets.settings import Settings

MODEL, JUDGE = ServedModel("Qwen3-8B"), ServedModel("Qwen3-14B")
HARDWARE = Hardware.parse("4xH100-SXM")
USED = {
    "strategy": "distill", "model": MODEL.name, "requests": 1000, "prompt_tokens": 700_000, "cached_prompt_tokens": 0,
    "completion_tokens": 320_000, "estimated_prompt_tokens": 700_000, "estimated_completion_tokens": 320_000,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.from_environment({"SYNTH_HOME": str(tmp_path), "COST_HARDWARE": HARDWARE.name})


@pytest.fixture
def lake(settings) -> Lake:
    return Lake(settings.lake_catalog, settings.lake_data_path)


def measure(lake: Lake, model: ServedModel, share: float, in_flight: float = 64, cached: int = 0) -> None:
    """A purchase of ten minutes that reached that share of the roofline."""
    pace = throughput_estimate(find(model.name), HARDWARE, in_flight, 700, 320)
    row = {
        "started_at": datetime.now(UTC), "model": model.name, "base_urls": "http://127.0.0.1:1/v1",
        "hardware": HARDWARE.name, "requests": 1000, "prompt_tokens": 700_000 + cached, "cached_prompt_tokens": cached,
        "completion_tokens": 320_000, "wall_seconds": 600.0, "mean_in_flight": in_flight,
        "tokens_per_second": share * pace.output_tokens_per_second, "mfu": 0.1, "mbu": 0.5,
        "utilization_source": "computed",
    }  # fmt: skip
    lake.append(USAGE.name, pa.Table.from_pylist([row], schema=USAGE.schema))


def test_bill_plan_and_budget_have_one_price_for_a_token(lake, settings):
    def bill() -> float:
        return cost_rows([USED], bill_models(lake, settings, MODEL, JUDGE), HARDWARE, {})[0]["gpu_hours"]

    def budgeted() -> float:
        return prices_of(lake, MODEL, HARDWARE, 64).gpu_hours(700_000, 320_000)

    by_the_roofline = bill()
    assert budgeted() == pytest.approx(by_the_roofline)
    measure(lake, MODEL, 0.5)
    assert pace_of(lake, MODEL, HARDWARE, 64).source == "serving.usage"
    assert bill() == pytest.approx(2 * by_the_roofline)
    assert budgeted() == pytest.approx(2 * by_the_roofline)


def test_a_judge_is_billed_at_the_pace_and_with_the_requests_in_flight_of_its_own_server(lake, settings):
    measure(lake, MODEL, 0.5)
    measure(lake, JUDGE, 1.25)
    models = bill_models(lake, settings, MODEL, JUDGE)
    prices = [models.priced({**USED, "model": model.name}, HARDWARE) for model in (MODEL, JUDGE)]
    assert [priced.load.reached for priced in prices] == pytest.approx([0.5, 1.25])
    assert [priced.load.in_flight for priced in prices] == [
        settings.requests_in_flight,
        settings.judge_requests_in_flight,
    ]


def test_prompt_tokens_from_the_cache_do_not_make_a_server_look_fast(lake):
    measure(lake, MODEL, 0.8, cached=5_000_000)
    assert pace_of(lake, MODEL, HARDWARE, 64).reached == pytest.approx(0.8)


def test_a_failed_call_has_a_price_for_its_prompt_also_where_the_rate_was_measured(lake, settings):
    measure(lake, MODEL, 0.5)
    prices = Prices([USED], bill_models(lake, settings, MODEL, JUDGE), HARDWARE)
    failed = WastedCalls("distill", MODEL.name, "failed", "timeout", 1, 700, 0, 0)
    assert prices.of(failed).gpu_hours(700, 0) > 0
