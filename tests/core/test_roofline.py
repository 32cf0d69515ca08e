import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.gpu_split import Split
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO, find
from synth_assets.core.roofline import (
    ALL_REDUCE_SECONDS,
    all_reduce_seconds,
    critical_batch,
    decode_step,
    distinct_experts,
    flops_per_token,
    memory_bytes,
    prefill_flops,
)
from synth_assets.core.throughput import ROOFLINE_EFFICIENCY, mbu, mfu, throughput_estimate

H100 = Hardware.parse("H100-SXM")
B200 = Hardware.parse("B200")
QWEN_MOE = find("Qwen3-30B-A3B")


@pytest.mark.parametrize(("batch", "experts"), [(1, 6), (8, 41), (32, 100), (64, 122)])
def test_a_batch_touches_the_expected_number_of_distinct_experts(batch: int, experts: int) -> None:
    assert distinct_experts(NEMOTRON_3_NANO, batch) == pytest.approx(experts, abs=0.6)
    assert distinct_experts(DENSE_8B, batch) == 0


def test_one_token_reads_the_active_weights_and_a_large_batch_all_of_them() -> None:
    assert decode_step(QWEN_MOE, H100, 1).weight_bytes == pytest.approx(2 * QWEN_MOE.active_params)
    everything = 2 * (QWEN_MOE.total_params - QWEN_MOE.lookup_params)
    assert decode_step(QWEN_MOE, H100, 2000).weight_bytes == pytest.approx(everything)


def test_caches_and_state_grow_with_batch_and_context() -> None:
    step = decode_step(NEMOTRON_3_NANO, H100, 10, 1000)
    assert step.kv_bytes == pytest.approx(10 * 1000 * 2 * 6 * 2 * 128 * 2)
    assert step.state_bytes == pytest.approx(10 * 2 * 48.2e6, rel=0.01)
    assert step.bytes_touched == step.weight_bytes + step.kv_bytes + step.state_bytes


@given(batch=st.floats(1, 5000), context=st.floats(0, 10_000))
def test_a_step_takes_as_long_as_its_slower_half(batch: float, context: float) -> None:
    step = decode_step(DENSE_8B, H100, batch, context)
    assert step.seconds == max(step.memory_seconds, step.compute_seconds)
    assert step.tokens_per_second == pytest.approx(batch / step.seconds)


def test_the_dense_critical_batch_is_peak_over_bandwidth() -> None:
    found = critical_batch(DENSE_8B, H100)
    assert found.naive == pytest.approx(989 / 3.35)
    assert found.batch == pytest.approx(295, rel=0.01)


def test_the_critical_batch_of_a_mixture_counts_all_its_experts() -> None:
    found = critical_batch(QWEN_MOE, H100)
    ratio = (QWEN_MOE.total_params - QWEN_MOE.lookup_params) / QWEN_MOE.active_params
    assert found.naive == pytest.approx(295, rel=0.01)
    assert found.batch == pytest.approx(295 * ratio, rel=0.01)
    assert 2700 < (found.batch or 0) < 3100
    assert "128 of 128 experts" in found.explanation


def test_recurrent_state_keeps_decode_memory_bound_at_every_batch() -> None:
    found = critical_batch(NEMOTRON_3_NANO, H100)
    assert found.batch is None
    assert "96 MB of recurrent state" in found.explanation
    assert decode_step(NEMOTRON_3_NANO, H100, 1e6).is_memory_bound


def test_a_long_context_keeps_a_dense_model_memory_bound_too() -> None:
    assert (critical_batch(DENSE_8B, H100, 50).batch or 0) > 295
    found = critical_batch(DENSE_8B, H100, 2000)
    assert found.batch is None
    assert "KV cache" in found.explanation


def test_the_critical_batch_separates_memory_bound_from_compute_bound() -> None:
    batch = critical_batch(QWEN_MOE, H100, 10).batch
    assert batch is not None
    assert decode_step(QWEN_MOE, H100, batch * 0.99, 10).is_memory_bound
    assert not decode_step(QWEN_MOE, H100, batch * 1.01, 10).is_memory_bound


def test_memory_says_how_many_sequences_fit() -> None:
    use = memory_bytes(QWEN_MOE, H100, 64, 1500)
    assert use.weight_bytes == pytest.approx(61.1e9, rel=0.01)
    assert use.total_bytes == pytest.approx(use.weight_bytes + 64 * 1500 * 98_304)
    assert use.max_sequences == int((0.9 * 80e9 - use.weight_bytes) / (1500 * 98_304))
    assert memory_bytes(NEMOTRON_3_NANO, Hardware.parse("L40S"), 1, 100).max_sequences == 0


def test_mfu_and_mbu_of_the_roofline_itself_are_one_on_the_limiting_side() -> None:
    step = decode_step(DENSE_8B, H100, 8)
    assert mbu(DENSE_8B, H100, step.tokens_per_second, 8) == pytest.approx(1)
    assert mfu(DENSE_8B, H100, step.tokens_per_second) == pytest.approx(8 / 295, rel=0.01)


def test_speed_from_four_bits_is_in_the_bytes_and_not_in_the_arithmetic() -> None:
    narrow, wide = (decode_step(DENSE_8B.at_precision(name), H100, 8) for name in ("int4", "bf16"))
    # The output layer stays in 16 bits.
    assert narrow.weight_bytes / wide.weight_bytes == pytest.approx(0.32, abs=0.01)
    assert narrow.compute_seconds == wide.compute_seconds
    assert decode_step(DENSE_8B.at_precision("fp8"), H100, 8).compute_seconds < wide.compute_seconds


def test_gpus_in_parallel_exchange_two_sums_a_layer() -> None:
    step = decode_step(DENSE_8B, Hardware.parse("4xH100"), 64)
    moved = 64 * 2 * 32 * 4096 * 2 * 2 * 3 / 4
    assert step.communication_seconds == pytest.approx(2 * 32 * ALL_REDUCE_SECONDS + moved / 450e9)
    assert step.seconds == max(step.memory_seconds, step.compute_seconds) + step.communication_seconds
    assert decode_step(DENSE_8B, H100, 64).communication_seconds == 0


def test_a_hybrid_sums_once_for_each_of_its_blocks() -> None:
    assert NEMOTRON_3_NANO.all_reduces == 52
    assert DENSE_8B.all_reduces == 64


def test_a_slow_link_makes_tensor_parallel_dear() -> None:
    fast, slow = (
        all_reduce_seconds(DENSE_8B, Hardware.parse(name), 64) / decode_step(DENSE_8B, Hardware.parse(name), 64).seconds
        for name in ("2xH100", "2xL40S")
    )
    assert slow > 3 * fast


def test_gpus_beyond_the_kv_heads_hold_copies_of_the_cache() -> None:
    one, four = (decode_step(NEMOTRON_3_NANO, Hardware.parse(name), 8, 1000) for name in ("H100", "4xH100"))
    assert four.kv_bytes == 2 * one.kv_bytes
    assert four.state_bytes == one.state_bytes
    # A latent is one thing, which every GPU needs whole.
    assert find("DeepSeek-V3").kv_copies(8) == 8


def test_a_prompt_costs_what_its_tokens_cost_one_by_one() -> None:
    tokens = 300
    one_by_one = sum(flops_per_token(DENSE_8B, context) for context in range(tokens))
    assert prefill_flops(DENSE_8B, tokens) == pytest.approx(one_by_one, rel=0.001)


def test_latent_attention_decodes_on_the_latent_which_is_wider_than_its_heads() -> None:
    deepseek = find("DeepSeek-V3")
    # Scores over latent and rotated key, values over the latent, 2 FLOPs for each number of 128 heads in 61 layers.
    per_token = flops_per_token(deepseek, 1000) - flops_per_token(deepseek, 0)
    assert per_token == 61 * 128 * 2 * (512 + 64 + 512) * 1000


def test_a_limit_in_the_links_is_named() -> None:
    model, eight = find("Llama-3.3-70B").at_precision("fp8"), Hardware.parse("8xL40S")
    assert "exchange between 8 GPUs" in throughput_estimate(model, eight, 256, 100, 400, Split(1, 8)).limit.words


def test_the_critical_batch_of_a_quantized_model_is_smaller() -> None:
    fp8, int4 = (critical_batch(DENSE_8B.at_precision(name), H100).naive for name in ("fp8", "int4"))
    assert fp8 == pytest.approx(295, rel=0.01)
    assert int4 == pytest.approx(295 * 4.25 / 16, rel=0.01)


def test_mbu_of_a_prediction_is_below_the_efficiency_that_it_assumes() -> None:
    pace = throughput_estimate(DENSE_8B, H100, 64, 600, 400)
    assert pace.decode_bytes_per_second / H100.bandwidth_bytes_per_second < ROOFLINE_EFFICIENCY


def test_concurrency_beyond_the_memory_is_not_counted() -> None:
    at_256, at_1000 = (throughput_estimate(QWEN_MOE, H100, sequences, 1100, 1000) for sequences in (256, 1000))
    assert at_256 == at_1000
    assert at_256.sequences < 100


def test_the_limit_is_named_in_words() -> None:
    def limit(*args: float) -> str:
        return throughput_estimate(DENSE_8B, H100, *args).limit.words

    assert "weights" in limit(1, 500, 500)
    assert "KV cache" in limit(256, 3000, 500)
    assert "prefill" in limit(256, 4000, 10)
    small = throughput_estimate(find("SmolLM2-135M"), B200, 1, 100, 100)
    assert "between steps" in small.limit.words
