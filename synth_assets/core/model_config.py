"""Reading a Hugging Face `config.json`: which kind of decoder it is, and its dimensions under that kind's names.

In: the parsed file. Out: counting parameters (`decoders`, `hybrid_decoders`), and where the file comes from (`models`,
`costing`). What is not understood is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth_assets.core.architecture import BF16_BYTES, FP8_BYTES, INT4_BYTES, ModelArchitecture, UnknownModelError
from synth_assets.core.decoders import Attention, gated_decoder, gpt2_decoder, latent_decoder
from synth_assets.core.hybrid_decoders import delta_hybrid_decoder, mamba_hybrid_decoder

Config = Mapping[str, Any]

_GATED_KINDS = frozenset(
    "cohere gemma gemma2 gemma3_text gpt_oss granite llama ministral mistral mixtral".split()  # noqa: SIM905
    + "olmo olmo2 phi3 qwen2 qwen2_moe qwen3 qwen3_moe smollm3 stablelm".split()  # noqa: SIM905
)
# Tied where their config.json says nothing, as transformers has it; the other kinds are not.
_TIED_KINDS = frozenset({"cohere", "gemma", "gemma2", "gemma3_text", "smollm3"})

# Kinds whose layers look back over a window in turns: every n-th layer looks back over everything.
_FULL_ATTENTION_INTERVAL = {"gemma3_text": 6, "gemma2": 2, "gpt_oss": 2}

_SOURCE = "config.json"


def from_config(config: Config, name: str = "") -> ModelArchitecture:
    """The architecture that a config describes; of a multimodal one, its text model.

    Understands Llama-like dense models, mixtures of gated experts, GPT-2, latent attention (DeepSeek-V2 and -V3),
    Nemotron-H, Qwen3-Next and Qwen3.5. Raises UnknownModelError for any other kind, and where a field is missing.
    """
    config = {**config, **(config.get("text_config") or {})}
    kind = str(config.get("model_type", ""))
    name = name or str(config.get("_name_or_path") or kind)
    read = _READERS.get(kind)
    # A known kind with latent attention added would be counted wrongly.
    if read is None or ("kv_lora_rank" in config and read is not _latent):
        raise UnknownModelError(
            f"The config of {name!r} (model_type {kind!r}) is of a kind whose cost is not known.",
            f"Known are {', '.join(sorted(_READERS))}; add an entry to CATALOGUE for another.",
        )
    try:
        return read(config, name)
    except KeyError as missing:
        raise UnknownModelError(
            f"The config of {name!r} has no field {missing}.", "Supply the complete config.json of the model."
        ) from missing


def _gpt2(config: Config, name: str) -> ModelArchitecture:
    return gpt2_decoder(
        name,
        hidden=config["n_embd"],
        layers=config["n_layer"],
        heads=config["n_head"],
        positions=config["n_positions"],
        vocabulary=config["vocab_size"],
        inner=config.get("n_inner"),
        source=_SOURCE,
    )


def _gated(config: Config, name: str) -> ModelArchitecture:
    heads = config["num_attention_heads"]
    layers = config["num_hidden_layers"]
    experts = config.get("num_local_experts") or config.get("num_experts") or 0
    every = config.get("decoder_sparse_step") or 1
    listed = set(config.get("mlp_only_layers") or ())
    dense_layers = sum(1 for layer in range(layers) if layer in listed or (layer + 1) % every)
    windowed_layers, window_tokens = _windows(config, layers)
    return gated_decoder(
        name,
        hidden=config["hidden_size"],
        layers=layers,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=(config.get("moe_intermediate_size") if experts else 0) or config["intermediate_size"],
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", config["model_type"] in _TIED_KINDS)),
        experts=experts,
        experts_per_token=config["num_experts_per_tok"] if experts else 0,
        dense_layers=dense_layers if experts else 0,
        dense_intermediate=config["intermediate_size"],
        shared_intermediate=config.get("shared_expert_intermediate_size") or 0,
        windowed_layers=windowed_layers,
        window_tokens=window_tokens,
        bytes_per_param=_bytes_per_param(config),
        keeps_only_experts_narrow=_quantization(config) == "mxfp4",
        source=_SOURCE,
    )


def _windows(config: Config, layers: int) -> tuple[int, int]:
    """How many layers look back over a window, and how far."""
    window = config.get("sliding_window") or 0
    if not window or config.get("use_sliding_window") is False:
        return 0, 0
    if listed := config.get("layer_types"):
        return sum(1 for kind in listed if kind == "sliding_attention"), window
    kind = config["model_type"]
    if kind in _FULL_ATTENTION_INTERVAL:
        every = config.get("sliding_window_pattern") or _FULL_ATTENTION_INTERVAL[kind]
        return layers - layers // every, window
    return (layers, window) if kind in ("mistral", "mixtral", "phi3") else (0, 0)


def _latent(config: Config, name: str) -> ModelArchitecture:
    return latent_decoder(
        name,
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        query_rank=config.get("q_lora_rank") or 0,
        latent=config["kv_lora_rank"],
        rope_dim=config["qk_rope_head_dim"],
        nope_dim=config["qk_nope_head_dim"],
        value_dim=config["v_head_dim"],
        dense_layers=config.get("first_k_dense_replace") or 0,
        dense_intermediate=config["intermediate_size"],
        experts=config["n_routed_experts"],
        experts_per_token=config["num_experts_per_tok"],
        expert_intermediate=config["moe_intermediate_size"],
        shared_experts=config.get("n_shared_experts") or 0,
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", False)),
        bytes_per_param=_bytes_per_param(config),
        source=_SOURCE,
    )


# The letters of Nemotron-H's pattern, and what transformers calls the same layers, before and since version 5.
_HYBRID_LAYERS = {
    "M": "mamba", "linear_attention": "mamba", "mamba": "mamba", "*": "attention", "full_attention": "attention",
    "attention": "attention", "-": "mlp", "mlp": "mlp", "E": "experts", "moe": "experts",
}  # fmt: skip


def _nemotron_h(config: Config, name: str) -> ModelArchitecture:
    pattern = config.get("layers_block_type") or config.get("layer_types") or config["hybrid_override_pattern"]
    unknown = [letter for letter in pattern if letter not in _HYBRID_LAYERS]
    if unknown:
        raise UnknownModelError(
            f"The config of {name!r} has layers of a kind that is not known: {unknown[0]!r}.",
            f"Known are {', '.join(_HYBRID_LAYERS)}; add an entry to CATALOGUE for another.",
        )
    kinds = [_HYBRID_LAYERS[letter] for letter in pattern]
    has_experts = "experts" in kinds
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config.get("attention_head_dim") or config["hidden_size"] // heads
    return mamba_hybrid_decoder(
        name,
        hidden=config["hidden_size"],
        mamba_layers=kinds.count("mamba"),
        mlp_layers=kinds.count("mlp"),
        expert_layers=kinds.count("experts"),
        attention=Attention(kinds.count("attention"), heads, config.get("num_key_value_heads") or heads, head_dim),
        mamba_heads=config["mamba_num_heads"],
        mamba_head_dim=config["mamba_head_dim"],
        mamba_groups=config["n_groups"],
        mamba_state_size=config["ssm_state_size"],
        mamba_kernel=config.get("conv_kernel") or 4,
        # vLLM takes float32 where the config names nothing.
        state_bytes_per_number=_number_bytes(config.get("mamba_ssm_cache_dtype"), 4.0),
        intermediate=config["intermediate_size"] if "mlp" in kinds else 0,
        expert_intermediate=config["moe_intermediate_size"] if has_experts else 0,
        shared_intermediate=config["moe_shared_expert_intermediate_size"] if has_experts else 0,
        latent=(config.get("moe_latent_size") or 0) if has_experts else 0,
        experts=config["n_routed_experts"] if has_experts else 0,
        experts_per_token=config["num_experts_per_tok"] if has_experts else 0,
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", False)),
        bytes_per_param=_bytes_per_param(config),
        source=_SOURCE,
    )


def _gated_delta(config: Config, name: str) -> ModelArchitecture:
    layers = config["num_hidden_layers"]
    every = config.get("full_attention_interval") or 4
    listed = config.get("layer_types")
    full = listed.count("full_attention") if listed else layers // every
    experts = config.get("num_experts") or 0
    if config.get("mlp_only_layers") or (config.get("decoder_sparse_step") or 1) != 1:
        raise UnknownModelError(
            f"The config of {name!r} has experts in some of its layers only.",
            "Add an entry to CATALOGUE for it.",
        )
    return delta_hybrid_decoder(
        name,
        hidden=config["hidden_size"],
        delta_layers=layers - full,
        attention=Attention(
            full, config["num_attention_heads"], config["num_key_value_heads"], config.get("head_dim") or 256
        ),
        key_heads=config["linear_num_key_heads"],
        value_heads=config["linear_num_value_heads"],
        key_dim=config["linear_key_head_dim"],
        value_dim=config["linear_value_head_dim"],
        kernel=config.get("linear_conv_kernel_dim") or 4,
        # vLLM keeps the state in the model's 16 bits unless the config names another format.
        state_bytes_per_number=_number_bytes(config.get("mamba_ssm_dtype"), BF16_BYTES),
        intermediate=0 if experts else config["intermediate_size"],
        experts=experts,
        experts_per_token=config["num_experts_per_tok"] if experts else 0,
        expert_intermediate=config["moe_intermediate_size"] if experts else 0,
        shared_intermediate=config.get("shared_expert_intermediate_size") or 0,
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", False)),
        bytes_per_param=_bytes_per_param(config),
        source=_SOURCE,
    )


def _number_bytes(dtype: object, default: float) -> float:
    return {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}.get(str(dtype), default)


_READERS: dict[str, Callable[[Config, str], ModelArchitecture]] = {
    "gpt2": _gpt2,
    "deepseek_v2": _latent,
    "deepseek_v3": _latent,
    "kimi_k2": _latent,
    "nemotron_h": _nemotron_h,
    "qwen3_next": _gated_delta,
    "qwen3_5_text": _gated_delta,
    "qwen3_5_moe_text": _gated_delta,
    **dict.fromkeys(_GATED_KINDS, _gated),
}


def _quantization(config: Config) -> str:
    """Names of method and algorithm: ModelOpt says `modelopt` in one field and `FP8` or `NVFP4` in the other."""
    quantization = config.get("quantization_config") or {}
    return " ".join(str(quantization.get(field) or "") for field in ("quant_method", "quant_algo")).strip().lower()


def _bytes_per_param(config: Config) -> float:
    """As served: by the quantization that the config names, else 16 bits."""
    method = _quantization(config)
    if "fp4" in method:
        return INT4_BYTES
    if "fp8" in method:
        return FP8_BYTES
    quantization = config.get("quantization_config") or {}
    groups = quantization.get("config_groups") or {}  # compressed-tensors
    weights = [group.get("weights") or {} for group in groups.values()]
    bits = quantization.get("bits") or max((group.get("num_bits") or 0 for group in weights), default=0)
    return float(bits) / 8 if bits else BF16_BYTES  # servers run float32 checkpoints in 16 bits as well
