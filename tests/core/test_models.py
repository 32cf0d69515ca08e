import json
from dataclasses import replace
from pathlib import Path

import pytest

from resources.errors import SettingError
from synth_assets.core.architecture import UnknownModelError
from synth_assets.core.model_config import from_config
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
NEMOTRON_3_NANO = {
    "model_type": "nemotron_h", "hidden_size": 2688, "num_hidden_layers": 52, "num_attention_heads": 32,
    "num_key_value_heads": 2, "head_dim": 128, "intermediate_size": 1856, "mamba_num_heads": 64, "mamba_head_dim": 64,
    "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "expand": 2, "mamba_ssm_cache_dtype": "float32",
    "n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 1, "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712, "vocab_size": 131072, "tie_word_embeddings": False,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "n_shared_experts": 1,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280,
    "tie_word_embeddings": False, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
QWEN3_NEXT = {
    "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
    "num_key_value_heads": 2, "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "num_experts": 512,
    "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
    "intermediate_size": 5120, "full_attention_interval": 4, "vocab_size": 151936, "tie_word_embeddings": False,
    "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip
GEMMA3_4B = {
    "model_type": "gemma3", "text_config": {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "sliding_window": 1024,
    },
}  # fmt: skip
GPT_OSS_20B = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 32,
    "num_experts_per_tok": 4, "vocab_size": 201088, "tie_word_embeddings": False, "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip

PUBLISHED = [
    ("Llama-3.1-8B", 8.03e9),
    ("Nemotron-3-Nano-30B-A3B", 31.6e9),
    ("Llama-3.3-70B", 70.6e9),
    ("SmolLM2-135M", 134.5e6),
    ("SmolLM2-360M", 361.8e6),
    ("SmolLM2-1.7B", 1.71e9),
    ("GPT2", 124.4e6),
    ("Qwen3-0.6B", 0.596e9),
    ("Qwen3-1.7B", 1.72e9),
    ("Qwen3-4B", 4.02e9),
    ("Qwen3-8B", 8.19e9),
    ("Qwen3-14B", 14.8e9),
    ("Qwen3-32B", 32.8e9),
    ("Qwen3-30B-A3B", 30.5e9),
    ("Qwen3-Next-80B-A3B", 79.7e9),
    ("Gemma-3-1B", 1.0e9),
    ("Gemma-3-4B", 3.88e9),  # without the 0.42 billion of the vision tower
    ("Gemma-3-12B", 11.77e9),
    ("Gemma-3-27B", 27.0e9),
    ("gpt-oss-20b", 20.9e9),
    ("gpt-oss-120b", 116.8e9),
    ("DeepSeek-V3", 671e9),
]


@pytest.mark.parametrize(("name", "total_params"), PUBLISHED)
def test_catalogue_parameters_agree_with_the_published_counts_within_one_percent(
    name: str, total_params: float
) -> None:
    assert find(name).total_params == pytest.approx(total_params, rel=0.01)


def test_every_catalogue_entry_is_held_against_a_published_count() -> None:
    assert {entry.name for entry in CATALOGUE} == {name for name, _ in PUBLISHED}


@pytest.mark.parametrize(
    ("name", "active_with_lookup"),
    [
        ("Qwen3-30B-A3B", 3.35e9),
        ("Nemotron-3-Nano-30B-A3B", 3.6e9),
        ("DeepSeek-V3", 37.6e9),
        ("gpt-oss-20b", 4.2e9),
        ("gpt-oss-120b", 5.7e9),
    ],
)
def test_active_parameters_agree_with_the_published_counts(name: str, active_with_lookup: float) -> None:
    entry = find(name)
    assert entry.active_params + entry.lookup_params == pytest.approx(active_with_lookup, rel=0.02)


def test_nemotron_multiplies_as_many_parameters_a_token_as_nvidia_says() -> None:
    assert find("Nemotron-3-Nano-30B-A3B").active_params == pytest.approx(3.2e9, rel=0.01)


def test_every_entry_says_where_it_comes_from() -> None:
    assert all(entry.source.startswith("https://huggingface.co/") for entry in CATALOGUE)


def test_expert_parameters_follow_from_total_and_active_ones() -> None:
    assert find("Qwen3-30B-A3B").expert_params == pytest.approx(48 * 128 * 3 * 2048 * 768)
    # 23 layers of 128 experts with two matrices of 2688 x 1856.
    assert find("nemotron-3-nano").expert_params == pytest.approx(23 * 128 * 2 * 2688 * 1856)
    assert find("GPT2").expert_params == 0


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        (SMOLLM2_135M, "SmolLM2-135M"),
        (QWEN3_30B_A3B, "Qwen3-30B-A3B"),
        (GPT2, "GPT2"),
        (NEMOTRON_3_NANO, "Nemotron-3-Nano-30B-A3B"),
        (DEEPSEEK_V3, "DeepSeek-V3"),
        (QWEN3_NEXT, "Qwen3-Next-80B-A3B"),
        (GEMMA3_4B, "Gemma-3-4B"),
        (GPT_OSS_20B, "gpt-oss-20b"),
    ],
)
def test_a_config_gives_the_same_architecture_as_the_catalogue(config: dict, entry: str) -> None:
    known = find(entry)
    assert replace(from_config(config), name=known.name, source=known.source) == known


def test_a_dense_hybrid_comes_to_its_published_count() -> None:
    nemotron_h_8b = {
        **NEMOTRON_3_NANO, "hidden_size": 4096, "num_key_value_heads": 8, "intermediate_size": 21504,
        "mamba_num_heads": 128, "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    }  # fmt: skip
    found = from_config(nemotron_h_8b)
    assert found.total_params == pytest.approx(8.1e9, rel=0.01)
    assert (found.layers, found.attention_layers, found.is_moe) == (52, 4, False)


def test_the_two_ways_to_write_nemotrons_layers_mean_the_same() -> None:
    kinds = {"M": "mamba", "E": "moe", "*": "attention"}
    listed = [kinds[letter] for letter in NEMOTRON_3_NANO["hybrid_override_pattern"]]
    other = {key: value for key, value in NEMOTRON_3_NANO.items() if key != "hybrid_override_pattern"}
    assert from_config({**other, "layers_block_type": listed}) == from_config(NEMOTRON_3_NANO)


def test_state_in_16_bits_is_half_of_that_in_32() -> None:
    half = from_config({**NEMOTRON_3_NANO, "mamba_ssm_cache_dtype": "bfloat16"}).recurrent_state_bytes
    assert half == pytest.approx(24.1e6, rel=0.01)
    assert from_config(NEMOTRON_3_NANO).recurrent_state_bytes == 2 * half


def test_latent_attention_caches_its_latent_and_one_rotated_key() -> None:
    found = from_config(DEEPSEEK_V3)
    assert found.kv_bytes_per_token == 61 * (512 + 64) * 2
    assert found.weight_bytes == pytest.approx(673e9, rel=0.01)


def test_a_layer_with_a_window_caches_no_more_than_it() -> None:
    gemma = from_config(GEMMA3_4B)
    per_layer = 2 * 4 * 256 * 2
    assert gemma.kv_bytes(500) == 34 * 500 * per_layer
    assert gemma.kv_bytes(10_000) == (5 * 10_000 + 29 * 1024) * per_layer


def test_windows_that_are_switched_off_are_none() -> None:
    windowed = {**SMOLLM2_135M, "sliding_window": 100, "layer_types": ["sliding_attention"] * 30}
    assert from_config(windowed).kv_bytes(1000) == from_config(SMOLLM2_135M).kv_bytes(100)
    off = from_config({**windowed, "use_sliding_window": False})
    assert off.kv_bytes(1000) == from_config(SMOLLM2_135M).kv_bytes(1000)


def test_only_the_experts_of_gpt_oss_have_four_bits() -> None:
    # OpenAI publishes a checkpoint of 12.8 GiB.
    assert from_config(GPT_OSS_20B).weight_bytes == pytest.approx(12.8 * 2**30, rel=0.01)


TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
TINY_EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "mlp_only_layers": [1]}
TINY_DELTA = {
    "num_hidden_layers": 4, "head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}  # fmt: skip
TINY_HYBRID = {
    "hybrid_override_pattern": "ME*-M", "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2,
    "head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "moe_shared_expert_intermediate_size": 24, "num_hidden_layers": 5,
}  # fmt: skip
TINY_LATENT = {
    "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("llama", {}),
        ("mistral", {"head_dim": 16}),
        ("qwen2_moe", TINY_EXPERTS),
        ("gemma2", {"head_dim": 8}),
        ("qwen3_next", {**TINY_DELTA, **TINY_EXPERTS, "mlp_only_layers": [], "shared_expert_intermediate_size": 24}),
        ("qwen3_5_text", TINY_DELTA),
        ("nemotron_h", TINY_HYBRID),
        ("nemotron_h", {**TINY_HYBRID, "moe_latent_size": 8}),
        ("deepseek_v3", TINY_LATENT),
        ("deepseek_v2", {**TINY_LATENT, "q_lora_rank": None, "topk_method": "greedy"}),
    ],
)
def test_a_config_counts_what_transformers_builds(kind: str, extra: dict) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, vocab_size=100, intermediate_size=48, **{**TINY, **extra})
    with torch.device("meta"):
        built = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    assert from_config(config.to_dict()).total_params == pytest.approx(built, rel=0.02)


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
    assert find("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").weight_bytes == pytest.approx(63.2e9, rel=0.01)
    # A byte each, and another for each of the 0.7 billion of embedding and output layer.
    assert find("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8").weight_bytes == pytest.approx(32.3e9, rel=0.01)
    assert find("Qwen/Qwen3-8B-AWQ").weight_bytes == pytest.approx(6.1e9, rel=0.02)


def test_a_model_can_be_looked_at_in_another_precision() -> None:
    assert find("Llama-3.1-8B").at_precision("fp8").weight_bytes == pytest.approx(9.1e9, rel=0.01)
    assert find("gpt-oss-20b").at_precision("bf16").weight_bytes == pytest.approx(41.8e9, rel=0.01)
    with pytest.raises(SettingError, match="int4"):
        find("Llama-3.1-8B").at_precision("fp12")


def test_a_larger_sibling_is_not_taken_for_a_catalogue_entry() -> None:
    with pytest.raises(UnknownModelError):
        find("openai-community/gpt2-xl")


def test_a_model_outside_the_catalogue_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SMOLLM2_135M, "num_hidden_layers": 10}))
    found = find("my-own-model", tmp_path)
    assert (found.name, found.layers) == ("my-own-model", 10)
    assert find(str(tmp_path)).layers == 10


def test_a_model_that_is_nowhere_at_hand_is_looked_up_by_its_names_in_turn() -> None:
    asked = []

    def hub(name: str) -> dict | None:
        asked.append(name)
        return SMOLLM2_135M if name == "acme/unheard-of-7b" else None

    assert find("alias", "acme/unheard-of-7b", hub).layers == 30
    assert find("acme/unheard-of-7b", "/not/there", hub).name == "acme/unheard-of-7b"
    assert asked == ["acme/unheard-of-7b", "/not/there", "acme/unheard-of-7b"]


def test_the_hub_is_not_asked_for_what_is_known(tmp_path: Path) -> None:
    def hub(name: str) -> dict:
        raise AssertionError(name)

    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2_135M))
    assert find("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", hub).layers == 36
    assert find("acme/own", tmp_path, hub).layers == 30


def test_a_config_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(UnknownModelError, match=r"config\.json is no JSON"):
        find("own", tmp_path)


def test_an_unknown_model_says_what_to_supply() -> None:
    with pytest.raises(UnknownModelError, match=r"config\.json"):
        find("acme/unheard-of-7b", "acme/unheard-of-7b")


@pytest.mark.parametrize("kind", ["mamba2", "t5", "jamba", "bert", ""])
def test_a_kind_of_model_that_is_not_understood_is_refused_and_not_guessed(kind: str) -> None:
    with pytest.raises(UnknownModelError):
        from_config({**SMOLLM2_135M, "model_type": kind})


def test_latent_attention_in_a_kind_that_has_none_is_refused() -> None:
    with pytest.raises(UnknownModelError):
        from_config({**SMOLLM2_135M, "kv_lora_rank": 512})


def test_a_hybrid_layer_that_is_not_understood_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="'X'"):
        from_config({**NEMOTRON_3_NANO, "hybrid_override_pattern": "MEX*"})


def test_experts_in_some_layers_of_a_hybrid_only_are_refused() -> None:
    with pytest.raises(UnknownModelError, match="some of its layers"):
        from_config({**QWEN3_NEXT, "mlp_only_layers": [0]})


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
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, 1.0),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, 0.53125),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
                }
            },
            0.5,
        ),
    ],
)
def test_bytes_of_a_parameter_are_those_of_the_quantization_or_16_bits(extra: dict, bytes_per_param: float) -> None:
    assert from_config({**SMOLLM2_135M, **extra}).bytes_per_param == bytes_per_param


def test_a_multimodal_config_counts_its_text_model() -> None:
    nested = {"model_type": "some_vlm", "text_config": SMOLLM2_135M, "vision_config": {"hidden_size": 9999}}
    assert from_config(nested).total_params == from_config(SMOLLM2_135M).total_params


@pytest.mark.parametrize("text", ["[1, 2]", '"gpt2"', "null"])
def test_a_config_that_is_no_object_is_refused_by_its_path(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnknownModelError, match=r"config\.json holds no JSON object"):
        find(str(tmp_path))


def test_an_empty_text_config_is_none(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SMOLLM2_135M, "text_config": None}))
    assert find(str(tmp_path)).layers == SMOLLM2_135M["num_hidden_layers"]
