"""The report's parts on what was used: waste, estimates, purchases, other models and GPUs, budgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from synth_assets.core.bill_tables import ESTIMATES, USAGE, WASTE
from synth_assets.core.cost import CostEstimate
from synth_assets.core.hardware import GPUS
from synth_assets.core.models import find
from synth_assets.core.scaling import ScalingRow
from synth_assets.reporting import cost_data, data
from synth_assets.reporting.budget_data import FACTOR, budget_rows
from synth_assets.reporting.choice_data import cheapest, choices, in_words
from synth_assets.reporting.page import write_report
from synth_assets.reporting.usage_data import estimate_errors, usage, waste

MakeLake = Callable[..., Lake]
HARDWARE = "4xH100-SXM"
REQUESTS = CostEstimate(requests=1000, prompt_tokens=600_000, completion_tokens=400_000)


@pytest.fixture(scope="module")
def filled(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("used"), documents=12)


@pytest.fixture
def lake(make_lake: MakeLake, tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def test_waste_is_summed_by_kind_and_reason_and_held_against_the_bill(filled: Lake) -> None:
    found = waste(filled)
    assert found is not None
    assert [(row["kind"], row["requests"]) for row in found.rows] == [("dropped", 15), ("failed", 10)]
    assert found.cost_usd == pytest.approx(5 * 0.003 + 5 * 0.002)
    [bill] = [row["cost_usd"] for row in data.cost(filled) or [] if row["strategy"] == "total"]
    assert found.share == pytest.approx(found.cost_usd / bill)


def test_the_error_of_the_first_estimates_is_beside_that_of_the_last(filled: Lake) -> None:
    found = estimate_errors(filled)
    assert found is not None
    assert (found.first, found.last) == (pytest.approx(0.8), pytest.approx(-0.03))


def test_a_strategy_that_was_estimated_once_has_no_last_error(lake: Lake) -> None:
    row = {"strategy": "distill", "model": "m", "answers_before": 0, "completion_tokens": 10}
    rows = pa.Table.from_pylist([{**row, "estimated_completion_tokens": 15}], schema=ESTIMATES.schema)
    lake.append(ESTIMATES.name, rows)
    found = estimate_errors(lake)
    assert found is not None
    assert (found.first, found.last) == (0.5, None)


def test_the_last_twenty_purchases_are_listed_newest_first(filled: Lake) -> None:
    rows = usage(filled)
    assert rows is not None
    assert len(rows) == 20
    assert rows[0]["started_at"] == "2026-03-01 12:24"
    assert {row["purchase_count"] for row in rows} == {25}


def test_without_the_tables_there_is_nothing_and_without_rows_nothing_was_wasted(lake: Lake, tmp_path: Path) -> None:
    assert (waste(lake), estimate_errors(lake), usage(lake)) == (None, None, None)
    lake.replace([Replacement(spec.name, spec.schema.empty_table(), where=None) for spec in (WASTE, ESTIMATES, USAGE)])
    assert (estimate_errors(lake), usage(lake)) == (None, None)
    assert waste(lake) is not None
    assert "Nothing was wasted" in write_report(lake, tmp_path, HARDWARE, {}).read_text()


def test_every_gpu_is_compared_with_the_model_of_the_bill_first() -> None:
    main = find("Qwen3-8B")
    rows = choices(REQUESTS, main, 4)
    assert [row.gpu for row in rows[: len(GPUS)]] == [gpu.name for gpu in GPUS]
    assert {row.model for row in rows[: len(GPUS)]} == {main.name}
    assert len(rows) == len(GPUS) * len({row.model for row in rows})


def test_the_cheapest_choice_is_named_in_words() -> None:
    rows = choices(REQUESTS, find("Llama-3.1-8B"), 4)
    own = cheapest(rows, "Llama-3.1-8B")
    assert own is not None
    assert in_words(rows, "Llama-3.1-8B").startswith(f"Llama-3.1-8B costs least on {own.hardware}")
    assert own.cost_usd == min(row.cost_usd for row in rows if row.model == own.model and row.cost_usd)


def test_a_model_that_does_not_fit_has_no_price() -> None:
    rows = choices(REQUESTS, find("Nemotron-3-Nano-30B-A3B"), 1)
    [small] = [row for row in rows if row.gpu == "L40S" and row.model.startswith("Nemotron")]
    assert (small.cost_usd, small.limit) == (None, "does not fit")


def test_nothing_asked_for_is_compared_with_nothing() -> None:
    assert choices(CostEstimate(), find("Llama-3.1-8B"), 4) == []


def test_a_budget_for_everything_buys_every_document_and_a_smaller_one_stays_within(filled: Lake) -> None:
    bill = data.cost(filled) or []
    rows = budget_rows(bill, 8)
    assert [row.share for row in rows] == [0.1, 0.25, 0.5, 1.0]
    for row in rows:
        assert sum(bought.cost_usd for bought in row.allocations) <= row.budget_usd * (1 + 1e-9)
    assert {bought.strategy for bought in rows[0].allocations}.isdisjoint({"total", "judge"})
    # Rounding may leave the last document of one strategy unbought.
    assert all(bought.documents >= FACTOR * 8 - 1 for bought in rows[-1].allocations)
    assert rows[0].output_tokens < rows[1].output_tokens < rows[-1].output_tokens


def test_no_bill_and_no_documents_have_no_budgets(filled: Lake) -> None:
    assert budget_rows([], 8) == []
    assert budget_rows(data.cost(filled) or [], 0) == []


def test_the_outlook_of_a_lake_has_choices_and_budgets(filled: Lake) -> None:
    outlook = cost_data.cost_outlook(data.cost(filled) or [], 8, HARDWARE)
    assert outlook.choices
    assert outlook.budgets
    assert outlook.gpu_count == 4


@pytest.mark.parametrize(
    ("requests_a_second", "expected"), [(2, "server: 2 requests/s"), (1000, "client: 1,000"), (5000, "storage: 5,000")]
)
def test_the_bottleneck_moves_from_server_to_client_to_storage(requests_a_second: int, expected: str) -> None:
    bill = CostEstimate(requests=86_400 * requests_a_second)
    assert cost_data.limit_within_a_day(ScalingRow(1, 1, bill, 1.0, 1, 1, "")).startswith(expected)
