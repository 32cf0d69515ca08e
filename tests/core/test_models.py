import json
from pathlib import Path

import pytest

from synth_assets.core.architecture import UnknownModelError, from_config
from synth_assets.core.models import CATALOGUE, find

SMOLLM2_135M = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN3_30B_A3B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False,
    "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
    "vocab_size": 50257, "dtype": "float32",
}  # fmt: skip

PUBLISHED = [
    ("Llama-3.1-8B", 8.03e9),
    ("Nemotron-3-Nano-30B-A3B", 31.6e9),
    ("SmolLM2-135M", 134.5e6),
    ("SmolLM2-1.7B", 1.71e9),
    ("GPT2", 124.4e6),
    ("Qwen3-8B", 8.19e9),
    ("Qwen3-30B-A3B", 30.5e9),
    ("gpt-oss-20b", 20.9e9),
]


@pytest.mark.parametrize(("name", "total_params"), PUBLISHED)
def test_catalogue_parameters_agree_with_the_published_counts_within_one_percent(
    name: str, total_params: float
) -> None:
    assert find(name).total_params == pytest.approx(total_params, rel=0.01)


def test_every_catalogue_entry_is_held_against_a_published_count() -> None:
    assert {entry.name for entry in CATALOGUE} == {name for name, _ in PUBLISHED}


@pytest.mark.parametrize(
    ("name", "active_with_lookup"), [("Qwen3-30B-A3B", 3.35e9), ("Nemotron-3-Nano-30B-A3B", 3.6e9)]
)
def test_active_parameters_agree_with_the_published_counts(name: str, active_with_lookup: float) -> None:
    entry = find(name)
    assert entry.active_params + entry.lookup_params == pytest.approx(active_with_lookup, rel=0.02)


def test_expert_parameters_follow_from_total_and_active_ones() -> None:
    assert find("Qwen3-30B-A3B").expert_params == pytest.approx(48 * 128 * 3 * 2048 * 768)
    # 23 layers of 128 experts with two matrices of 2688 x 1856; published totals are rounded.
    assert find("nemotron-3-nano").expert_params == pytest.approx(23 * 128 * 2 * 2688 * 1856, rel=0.01)
    assert find("GPT2").expert_params == 0


@pytest.mark.parametrize(
    ("config", "entry"), [(SMOLLM2_135M, "SmolLM2-135M"), (QWEN3_30B_A3B, "Qwen3-30B-A3B"), (GPT2, "GPT2")]
)
def test_a_config_gives_the_same_architecture_as_the_catalogue(config: dict, entry: str) -> None:
    read, known = from_config(config), find(entry)
    for field in (
        "total_params",
        "active_params",
        "layers",
        "d_attn",
        "kv_bytes_per_token",
        "experts",
        "lookup_params",
    ):
        assert getattr(read, field) == getattr(known, field), field


def test_a_config_counts_what_transformers_builds() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    moe = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "mlp_only_layers": [1]}
    for kind, extra in (
        ("llama", {}),
        ("mistral", {"head_dim": 16}),
        ("qwen2_moe", moe),
        ("gemma2", {"head_dim": 8}),
    ):
        config = AutoConfig.for_model(kind, vocab_size=100, intermediate_size=48, **shape, **extra)
        built = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        assert from_config(config.to_dict()).total_params == pytest.approx(built, rel=0.05), kind


@pytest.mark.parametrize(
    "name",
    [
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "smollm2-135m-instruct",
        "/models/SmolLM2-135M-Instruct/",
        "SmolLM2-135M",
    ],
)
def test_a_model_is_found_whatever_its_organisation_case_and_suffix(name: str) -> None:
    assert find(name).name == "SmolLM2-135M"


def test_a_precision_suffix_sets_the_bytes_of_a_parameter() -> None:
    assert find("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").weight_bytes == pytest.approx(63.2e9)
    assert find("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8").weight_bytes == pytest.approx(31.6e9)


def test_a_larger_sibling_is_not_taken_for_a_catalogue_entry() -> None:
    with pytest.raises(UnknownModelError):
        find("openai-community/gpt2-xl")


def test_a_model_outside_the_catalogue_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SMOLLM2_135M, "num_hidden_layers": 10}))
    found = find("my-own-model", tmp_path)
    assert (found.name, found.layers) == ("my-own-model", 10)
    assert find(str(tmp_path)).layers == 10


def test_an_unknown_model_says_what_to_supply() -> None:
    with pytest.raises(UnknownModelError, match=r"config\.json"):
        find("acme/unheard-of-7b", "acme/unheard-of-7b")


@pytest.mark.parametrize("kind", ["nemotron_h", "mamba2", "t5", "deepseek_v3", ""])
def test_a_kind_of_model_that_is_not_understood_is_refused_and_not_guessed(kind: str) -> None:
    with pytest.raises(UnknownModelError):
        from_config({**SMOLLM2_135M, "model_type": kind})


def test_an_incomplete_config_names_the_missing_field() -> None:
    with pytest.raises(UnknownModelError, match="vocab_size"):
        from_config({key: value for key, value in SMOLLM2_135M.items() if key != "vocab_size"})


@pytest.mark.parametrize(
    ("extra", "bytes_per_param"),
    [
        ({}, 2.0),
        ({"torch_dtype": "float32"}, 2.0),
        ({"quantization_config": {"quant_method": "fp8"}}, 1.0),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, 0.5),
        ({"quantization_config": {"quant_method": "mxfp4"}}, 0.53125),
    ],
)
def test_bytes_of_a_parameter_are_those_of_the_quantization_or_16_bits(extra: dict, bytes_per_param: float) -> None:
    assert from_config({**SMOLLM2_135M, **extra}).bytes_per_param == bytes_per_param


def test_a_multimodal_config_counts_its_text_model() -> None:
    nested = {"model_type": "some_vlm", "text_config": SMOLLM2_135M, "vision_config": {"hidden_size": 9999}}
    assert from_config(nested).total_params == from_config(SMOLLM2_135M).total_params
