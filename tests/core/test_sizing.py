import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import SettingError
from synth_assets.core.gpu_split import Split, gpus_needed, possible_splits
from synth_assets.core.hardware import GPUS, Hardware
from synth_assets.core.models import CATALOGUE, DENSE_8B, NEMOTRON_3_NANO, find
from synth_assets.core.sizing import conclusion, sizing
from synth_assets.core.throughput import mbu, throughput_estimate

H100 = Hardware.parse("H100", 2.0)
FOUR_H100 = Hardware.parse("4xH100", 2.0)
LLAMA_70B = find("Llama-3.3-70B")


def test_a_sizing_agrees_with_itself() -> None:
    size = sizing(DENSE_8B, H100, 600, 400, 64)
    assert size.split == Split(1, 1)
    assert size.memory.total_bytes == pytest.approx(size.memory.weight_bytes + size.memory.kv_bytes)
    assert size.max_sequences == size.memory.max_sequences > 64
    # 64 answers of 400 tokens take one decode time and 64 prompts.
    round_seconds = size.decode_seconds + 64 * size.prefill_seconds
    assert size.output_tokens_per_second == pytest.approx(64 * 400 / round_seconds)
    assert size.usd_per_million_output_tokens == pytest.approx(2.0 / 3600 / size.output_tokens_per_second * 1e6)
    assert size.low_tokens_per_second < size.output_tokens_per_second < size.high_tokens_per_second
    assert size.bill(1000).gpu_hours == pytest.approx(400_000 / size.output_tokens_per_second / 3600)


@given(
    entry=st.sampled_from(CATALOGUE),
    gpu=st.sampled_from(GPUS),
    count=st.sampled_from([1, 2, 4, 8]),
    precision=st.sampled_from(["bf16", "fp8", "int4"]),
    concurrency=st.integers(1, 2000),
    prompt=st.integers(1, 8000),
    completion=st.integers(1, 4000),
)
def test_no_sizing_uses_more_than_there_is(entry, gpu, count, precision, concurrency, prompt, completion) -> None:
    model, hardware = entry.at_precision(precision), Hardware(gpu, count, 1.0)
    try:
        size = sizing(model, hardware, prompt, completion, concurrency)
    except SettingError:
        assert gpus_needed(model, gpu, prompt + completion) > count
        return
    assert size.split.replicas * size.split.tensor_parallel == count
    assert size.memory.total_bytes <= 0.9 * gpu.memory_bytes * size.split.tensor_parallel * (1 + 1e-9)
    assert 0 < size.mfu < 1
    assert 0 < size.mbu < 1
    assert size.limit


def test_a_model_that_fits_one_gpu_is_replicated_and_one_that_does_not_is_divided() -> None:
    assert sizing(DENSE_8B, FOUR_H100, 600, 400, 1024).split == Split(4, 1)
    assert sizing(LLAMA_70B, FOUR_H100, 600, 400, 1024).split.tensor_parallel > 1


def test_replicas_add_up_in_what_they_hold_and_not_in_how_long_a_prompt_takes() -> None:
    four, one = sizing(DENSE_8B, FOUR_H100, 600, 400, 1024), sizing(DENSE_8B, H100, 600, 400, 256)
    assert four.split.replicas == 4
    assert four.max_sequences == 4 * one.max_sequences
    assert four.prefill_seconds == pytest.approx(one.prefill_seconds)
    assert four.output_tokens_per_second == pytest.approx(4 * one.output_tokens_per_second)
    assert (four.mfu, four.mbu) == pytest.approx((one.mfu, one.mbu))
    assert one.mbu == pytest.approx(mbu(DENSE_8B, H100, one.output_tokens_per_second, 256, 800))


def test_a_group_ends_at_the_machine_where_the_model_allows() -> None:
    sixteen = Hardware.parse("16xH100")
    assert max(split.tensor_parallel for split in possible_splits(DENSE_8B, sixteen, 1000)) == 8
    assert possible_splits(find("DeepSeek-V3"), sixteen, 1000) == [Split(1, 16)]


def test_a_lone_request_is_answered_sooner_by_gpus_in_parallel_than_by_one_replica_of_them() -> None:
    assert sizing(DENSE_8B, FOUR_H100, 600, 400, 1).split == Split(1, 4)


def test_the_best_split_is_at_least_as_fast_as_every_other() -> None:
    splits = possible_splits(NEMOTRON_3_NANO, FOUR_H100, 1000)
    assert Split(4, 1) in splits
    best = throughput_estimate(NEMOTRON_3_NANO, FOUR_H100, 64, 600, 400)
    rates = [throughput_estimate(NEMOTRON_3_NANO, FOUR_H100, 64, 600, 400, split) for split in splits]
    assert best.output_tokens_per_second == max(rate.output_tokens_per_second for rate in rates)


def test_a_group_divides_the_attention_heads_evenly_unless_it_is_all_there_is() -> None:
    # SmolLM2-135M has 9 heads.
    sizes = {split.tensor_parallel for split in possible_splits(find("SmolLM2-135M"), Hardware.parse("6xL40S"), 500)}
    assert sizes == {1, 3, 6}


def test_the_least_number_of_gpus_is_the_first_power_of_two_that_holds_the_model() -> None:
    assert gpus_needed(LLAMA_70B, H100.gpu, 1000) == 2
    assert gpus_needed(LLAMA_70B.at_precision("int4"), H100.gpu, 1000) == 1
    assert gpus_needed(find("DeepSeek-V3"), H100.gpu, 1000) == 16


def test_a_model_that_does_not_fit_says_what_would_hold_it() -> None:
    with pytest.raises(SettingError, match="2xL40S"):
        sizing(NEMOTRON_3_NANO, Hardware.parse("L40S"), 600, 400, 8)


def test_the_conclusion_names_the_cheapest_and_how_much_the_dearest_costs() -> None:
    sizes = [sizing(model, FOUR_H100, 600, 400, 1024) for model in (DENSE_8B, LLAMA_70B)]
    words = conclusion(sizes)
    assert words.startswith("Llama-3.1-8B on 4xH100-SXM (4 replicas of 1 GPU) costs the least")
    ratio = sizes[1].usd_per_million_output_tokens / sizes[0].usd_per_million_output_tokens
    assert f"Llama-3.3-70B on 4xH100-SXM costs {ratio:.1f} times as much" in words
    assert conclusion([]) == ""
    assert "times as much" not in conclusion(sizes[:1])


def test_a_sequence_that_no_number_of_gpus_holds_is_refused_with_shorter_texts_as_the_remedy() -> None:
    # Latent attention has one KV head: each GPU holds a copy of the whole cache.
    latent = find("DeepSeek-V3")
    assert gpus_needed(latent, H100.gpu, 1_100_000) is None
    with pytest.raises(SettingError, match="shorter texts fit"):
        sizing(latent, H100, 1_100_000, 400, 1)
