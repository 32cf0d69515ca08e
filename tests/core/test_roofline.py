import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO, find
from synth_assets.core.roofline import critical_batch, decode_step, distinct_experts, memory_bytes
from synth_assets.core.throughput import mbu, mfu, throughput_estimate

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


PUBLIC_OUTPUT_TOKENS_PER_SECOND = [
    # datatrove's benchmark: vLLM 0.15, at most 256 sequences (512 on two GPUs), FineWeb-Edu documents.
    ("SmolLM2-135M", "H100", 256, 28_391, 0.15),
    ("SmolLM2-1.7B", "H100", 256, 5_255, 0.20),
    ("Qwen3-8B", "H100", 256, 6_338, 0.15),
    ("Qwen3-30B-A3B", "H100", 256, 2_977, 0.40),
    ("Qwen3-30B-A3B", "2xH100", 512, 2 * 5_310, 0.35),
    ("gpt-oss-20b", "H100", 256, 12_432, 0.15),
]


@pytest.mark.parametrize(("model", "hardware", "sequences", "public", "tolerance"), PUBLIC_OUTPUT_TOKENS_PER_SECOND)
def test_expected_throughput_is_near_public_figures(
    model: str, hardware: str, sequences: int, public: float, tolerance: float
) -> None:
    pace = throughput_estimate(find(model), Hardware.parse(hardware), sequences, 1100, 1000)
    assert pace.output_tokens_per_second == pytest.approx(public, rel=tolerance)


def test_nemotrons_public_figure_lies_between_the_estimates_for_64_and_256_sequences() -> None:
    # 9,415 tokens/s a GPU in FP8; the number of sequences is not published.
    low, high = (
        throughput_estimate(find("Nemotron-3-Nano-30B-A3B-FP8"), B200, sequences, 1024, 1024).output_tokens_per_second
        for sequences in (64, 256)
    )
    assert low < 9_415 < high


def test_concurrency_beyond_the_memory_is_not_counted() -> None:
    at_256, at_1000 = (throughput_estimate(QWEN_MOE, H100, sequences, 1100, 1000) for sequences in (256, 1000))
    assert at_256 == at_1000
    assert at_256.sequences < 100


def test_the_limit_is_named_in_words() -> None:
    def limit(*args: float) -> str:
        return throughput_estimate(DENSE_8B, H100, *args).limit

    assert "weights" in limit(1, 500, 500)
    assert "KV cache" in limit(256, 3000, 500)
    assert "prefill" in limit(256, 4000, 10)
    small = throughput_estimate(find("SmolLM2-135M"), B200, 1, 100, 100)
    assert "between steps" in small.limit
