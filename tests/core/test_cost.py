from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import SettingError
from synth_assets.core.cost import (
    CostEstimate,
    cost_usd,
    estimate,
    forward_flops,
    total,
    total_forward_flops,
    usd_per_million_tokens,
)
from synth_assets.core.cost_range import estimate_range
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO, find
from synth_assets.core.output_length import TokenRange
from synth_assets.core.pace import Pace
from synth_assets.core.scaling import CLIENT_REQUESTS_PER_SECOND, compare_dense_and_moe, conclusion, scaling_table

FOUR_H100 = Hardware.parse("4xH100-SXM", 3.0)


def test_forward_flops_add_up_token_by_token() -> None:
    prompt, completion = 7, 5
    width = DENSE_8B.layers * DENSE_8B.d_attn
    expected = 2 * DENSE_8B.active_params * (prompt + completion) + 2 * width * prompt**2
    expected += sum(4 * width * context for context in range(prompt, prompt + completion))
    assert forward_flops(DENSE_8B, prompt, completion) == pytest.approx(expected, rel=1e-12)


def test_a_hybrid_model_pays_attention_for_its_attention_layers_only() -> None:
    attention = forward_flops(NEMOTRON_3_NANO, 1000, 0) - 2 * NEMOTRON_3_NANO.active_params * 1000
    assert attention == pytest.approx(2 * 6 * 4096 * 1000**2)


def test_totals_of_equal_requests_are_exact() -> None:
    assert total_forward_flops(DENSE_8B, 10, 3000, 1000) == pytest.approx(10 * forward_flops(DENSE_8B, 300, 100))
    assert total_forward_flops(DENSE_8B, 0, 0, 0) == 0


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 600)), min_size=1, max_size=20))
def test_totals_of_unequal_requests_are_at_most_a_few_percent_low(lengths: list[tuple[int, int]]) -> None:
    exact = sum(forward_flops(DENSE_8B, prompt, completion) for prompt, completion in lengths)
    prompts, completions = (sum(side) for side in zip(*lengths, strict=True))
    assert total_forward_flops(DENSE_8B, len(lengths), prompts, completions) == pytest.approx(exact, rel=0.06)


def test_dollars_follow_from_gpu_hours_and_from_rates() -> None:
    assert cost_usd(2.5, FOUR_H100) == pytest.approx(7.5)
    # 12 dollars an hour at 10,000 tokens/s, which is 36 million tokens an hour.
    assert usd_per_million_tokens(FOUR_H100, 10_000) == pytest.approx(12 / 36)


def test_a_server_that_reaches_half_of_the_roofline_takes_twice_the_time_and_the_same_arithmetic() -> None:
    ideal = estimate(NEMOTRON_3_NANO, FOUR_H100, 100, 60_000, 36_000)
    bill = estimate(NEMOTRON_3_NANO, FOUR_H100, 100, 60_000, 36_000, reached=0.5)
    assert bill.wall_seconds == pytest.approx(2 * ideal.wall_seconds)
    assert bill.gpu_hours == pytest.approx(4 * bill.wall_seconds / 3600)
    assert bill.cost_usd == pytest.approx(3 * bill.gpu_hours)
    assert bill.flops == ideal.flops == pytest.approx(100 * forward_flops(NEMOTRON_3_NANO, 600, 360))


def test_no_requests_cost_nothing() -> None:
    assert estimate(DENSE_8B, FOUR_H100, 0, 0, 0) == CostEstimate()
    assert scaling_table(CostEstimate(), 0, DENSE_8B, FOUR_H100) == []
    assert compare_dense_and_moe(FOUR_H100, 0, 0, 0) == []


def test_answers_without_a_token_still_cost_their_prompts() -> None:
    bill = estimate(DENSE_8B, FOUR_H100, 10, 5000, 0)
    assert bill.gpu_hours > 0


def test_bills_add_up() -> None:
    one, two = (estimate(DENSE_8B, FOUR_H100, n, 500 * n, 200 * n) for n in (10, 30))
    both = total([one, two])
    assert (both.requests, both.prompt_tokens, both.completion_tokens) == (40, 20_000, 8_000)
    assert both.cost_usd == pytest.approx(one.cost_usd + two.cost_usd)
    assert total([]) == CostEstimate()


def test_more_concurrency_makes_the_same_tokens_cheaper() -> None:
    bills = [estimate(NEMOTRON_3_NANO, FOUR_H100, 1000, 600_000, 400_000, c).cost_usd for c in (1, 8, 64)]
    assert bills[0] > 3 * bills[1] > 3 * bills[2]


def test_a_model_that_does_not_fit_the_hardware_is_refused_with_a_remedy() -> None:
    with pytest.raises(SettingError, match="COST_HARDWARE") as error:
        estimate(NEMOTRON_3_NANO, Hardware.parse("1xL40S"), 10, 5000, 2000)
    assert "63 GB" in str(error.value)


def test_a_range_takes_fewer_tokens_fast_and_more_tokens_slowly() -> None:
    tokens = TokenRange(20_000, 30_000, 60_000)
    bills = estimate_range(DENSE_8B, FOUR_H100, 100, 60_000, tokens, 64, Pace("measured", 0.8, 0.5, 2.0))
    ideal = [estimate(DENSE_8B, FOUR_H100, 100, 60_000, count).wall_seconds for count in (20_000, 30_000, 60_000)]
    assert [bill.wall_seconds for bill in (bills.low, bills.expected, bills.high)] == pytest.approx(
        [ideal[0] / 0.8 / 2, ideal[1] / 0.8, ideal[2] / 0.8 / 0.5]
    )
    assert bills.low.flops < bills.expected.flops < bills.high.flops
    assert bills.expected == estimate(DENSE_8B, FOUR_H100, 100, 60_000, 30_000, reached=0.8)


def test_scaling_is_linear_in_the_documents_and_names_the_limit() -> None:
    base = estimate(NEMOTRON_3_NANO, FOUR_H100, 900, 500_000, 300_000)
    rows = scaling_table(base, 180, NEMOTRON_3_NANO, FOUR_H100)
    assert [(row.factor, row.documents) for row in rows] == [(1, 180), (10, 1800), (100, 18_000), (1000, 180_000)]
    assert rows[0].estimate == base
    assert rows[3].estimate.cost_usd == pytest.approx(1000 * base.cost_usd)
    assert rows[3].documents_per_second == pytest.approx(180 / base.wall_seconds)
    assert all(row.limit.startswith("server, memory bandwidth in decode") for row in rows)
    assert rows[3].gpus_for_one_day >= rows[0].gpus_for_one_day == 1


def test_a_server_that_outruns_the_client_is_limited_by_the_client() -> None:
    base = estimate(DENSE_8B, FOUR_H100, 1000, 100_000, 10_000, reached=1e4)
    row = scaling_table(base, 1000, DENSE_8B, FOUR_H100, factors=(1,), reached=1e4)[0]
    assert row.limit.startswith("client")
    assert row.documents_per_second == pytest.approx(CLIENT_REQUESTS_PER_SECOND)


def test_the_mixture_needs_less_arithmetic_and_more_memory_than_the_dense_model() -> None:
    dense, moe = compare_dense_and_moe(FOUR_H100, 900, 500_000, 300_000)
    assert 0.35 < moe.flops_per_token / dense.flops_per_token < 0.5
    assert moe.weight_bytes > 3.5 * dense.weight_bytes
    assert moe.cache_bytes_per_sequence < dense.cache_bytes_per_sequence
    assert dense.critical_batch.batch == pytest.approx(295, rel=0.01)
    assert moe.critical_batch.batch is None
    words = conclusion([dense, moe])
    assert "Nemotron-3-Nano-30B-A3B needs the least arithmetic" in words
    assert "Nemotron-3-Nano-30B-A3B needs the most memory: 63 GB" in words


def test_a_comparison_says_which_model_does_not_fit() -> None:
    rows = compare_dense_and_moe(Hardware.parse("L40S"), 900, 500_000, 300_000)
    assert [row.estimate is None for row in rows] == [False, True]
    assert rows[1].output_tokens_per_second is None
    assert "does not fit" in conclusion(rows)


def test_the_comparison_takes_other_models() -> None:
    rows = compare_dense_and_moe(FOUR_H100, 10, 5000, 2000, dense=find("Qwen3-8B"), moe=find("Qwen3-30B-A3B"))
    assert [row.architecture.name for row in rows] == ["Qwen3-8B", "Qwen3-30B-A3B"]


def test_requests_without_any_token_cost_nothing() -> None:
    assert estimate(DENSE_8B, FOUR_H100, 5, 0, 0) == CostEstimate(requests=5)


def test_layers_with_a_window_look_back_on_no_more_than_it_and_latent_attention_has_a_width_of_its_own() -> None:
    windowed, latent = find("gpt-oss-20b"), find("DeepSeek-V3")
    everywhere = replace(windowed, windowed_layers=0)
    assert forward_flops(windowed, 8000, 1000) < forward_flops(everywhere, 8000, 1000)
    plain = replace(latent, decode_width=0)
    assert forward_flops(latent, 1400, 1400) > 1.1 * forward_flops(plain, 1400, 1400)
