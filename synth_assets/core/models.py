"""Known models by the name that a server gives them.

In: the catalogue, and finding an architecture by name or by the folder of its weights. Out: what an architecture is
(`architecture`), how parameters are counted (`decoders`) and how a config is read (`model_config`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth_assets.core.architecture import FP8_BYTES, INT4_BYTES, ModelArchitecture, UnknownModelError
from synth_assets.core.decoders import Attention, gated_decoder, gpt2_decoder, latent_decoder
from synth_assets.core.hybrid_decoders import delta_hybrid_decoder, mamba_hybrid_decoder
from synth_assets.core.model_config import from_config


def _config_of(repository: str) -> str:
    return f"https://huggingface.co/{repository}/blob/main/config.json"


CATALOGUE: tuple[ModelArchitecture, ...] = (
    gated_decoder(
        "Llama-3.1-8B", hidden=4096, layers=32, heads=32, kv_heads=8, head_dim=128, intermediate=14336,
        vocabulary=128256, is_tied=False, source=_config_of("meta-llama/Llama-3.1-8B"),
    ),
    # 23 Mamba-2, 23 mixture-of-experts and 6 attention layers; a shared expert of 3,712; state in float32.
    mamba_hybrid_decoder(
        "Nemotron-3-Nano-30B-A3B", hidden=2688, mamba_layers=23, mlp_layers=0, expert_layers=23,
        attention=Attention(6, 32, 2, 128), mamba_heads=64, mamba_head_dim=64, mamba_groups=8, mamba_state_size=128,
        expert_intermediate=1856, shared_intermediate=3712, experts=128, experts_per_token=6, vocabulary=131072,
        is_tied=False, source=_config_of("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
    ),
    gated_decoder(
        "Llama-3.3-70B", hidden=8192, layers=80, heads=64, kv_heads=8, head_dim=128, intermediate=28672,
        vocabulary=128256, is_tied=False, source=_config_of("meta-llama/Llama-3.3-70B-Instruct"),
    ),
    gated_decoder(
        "SmolLM2-135M", hidden=576, layers=30, heads=9, kv_heads=3, head_dim=64, intermediate=1536,
        vocabulary=49152, is_tied=True, source=_config_of("HuggingFaceTB/SmolLM2-135M"),
    ),
    gated_decoder(
        "SmolLM2-360M", hidden=960, layers=32, heads=15, kv_heads=5, head_dim=64, intermediate=2560,
        vocabulary=49152, is_tied=True, source=_config_of("HuggingFaceTB/SmolLM2-360M"),
    ),
    gated_decoder(
        "SmolLM2-1.7B", hidden=2048, layers=24, heads=32, kv_heads=32, head_dim=64, intermediate=8192,
        vocabulary=49152, is_tied=True, source=_config_of("HuggingFaceTB/SmolLM2-1.7B"),
    ),
    gpt2_decoder(
        "GPT2", hidden=768, layers=12, heads=12, positions=1024, vocabulary=50257,
        source=_config_of("openai-community/gpt2"),
    ),
    gated_decoder(
        "Qwen3-0.6B", hidden=1024, layers=28, heads=16, kv_heads=8, head_dim=128, intermediate=3072,
        vocabulary=151936, is_tied=True, source=_config_of("Qwen/Qwen3-0.6B"),
    ),
    gated_decoder(
        "Qwen3-1.7B", hidden=2048, layers=28, heads=16, kv_heads=8, head_dim=128, intermediate=6144,
        vocabulary=151936, is_tied=True, source=_config_of("Qwen/Qwen3-1.7B"),
    ),
    gated_decoder(
        "Qwen3-4B", hidden=2560, layers=36, heads=32, kv_heads=8, head_dim=128, intermediate=9728,
        vocabulary=151936, is_tied=True, source=_config_of("Qwen/Qwen3-4B"),
    ),
    gated_decoder(
        "Qwen3-8B", hidden=4096, layers=36, heads=32, kv_heads=8, head_dim=128, intermediate=12288,
        vocabulary=151936, is_tied=False, source=_config_of("Qwen/Qwen3-8B"),
    ),
    gated_decoder(
        "Qwen3-14B", hidden=5120, layers=40, heads=40, kv_heads=8, head_dim=128, intermediate=17408,
        vocabulary=151936, is_tied=False, source=_config_of("Qwen/Qwen3-14B"),
    ),
    gated_decoder(
        "Qwen3-32B", hidden=5120, layers=64, heads=64, kv_heads=8, head_dim=128, intermediate=25600,
        vocabulary=151936, is_tied=False, source=_config_of("Qwen/Qwen3-32B"),
    ),
    gated_decoder(
        "Qwen3-30B-A3B", hidden=2048, layers=48, heads=32, kv_heads=4, head_dim=128, intermediate=768,
        vocabulary=151936, is_tied=False, experts=128, experts_per_token=8, source=_config_of("Qwen/Qwen3-30B-A3B"),
    ),
    delta_hybrid_decoder(
        "Qwen3-Next-80B-A3B", hidden=2048, delta_layers=36, attention=Attention(12, 16, 2, 256), key_heads=16,
        value_heads=32, key_dim=128, value_dim=128, kernel=4, experts=512, experts_per_token=10,
        expert_intermediate=512, shared_intermediate=512, vocabulary=151936, is_tied=False,
        source=_config_of("Qwen/Qwen3-Next-80B-A3B-Instruct"),
    ),
    gated_decoder(
        "Gemma-3-1B", hidden=1152, layers=26, heads=4, kv_heads=1, head_dim=256, intermediate=6912,
        vocabulary=262144, is_tied=True, windowed_layers=22, window_tokens=512,
        source=_config_of("google/gemma-3-1b-it"),
    ),
    gated_decoder(
        "Gemma-3-4B", hidden=2560, layers=34, heads=8, kv_heads=4, head_dim=256, intermediate=10240,
        vocabulary=262208, is_tied=True, windowed_layers=29, window_tokens=1024,
        source=_config_of("google/gemma-3-4b-it") + " (text model)",
    ),
    gated_decoder(
        "Gemma-3-12B", hidden=3840, layers=48, heads=16, kv_heads=8, head_dim=256, intermediate=15360,
        vocabulary=262208, is_tied=True, windowed_layers=40, window_tokens=1024,
        source=_config_of("google/gemma-3-12b-it") + " (text model)",
    ),
    gated_decoder(
        "Gemma-3-27B", hidden=5376, layers=62, heads=32, kv_heads=16, head_dim=128, intermediate=21504,
        vocabulary=262208, is_tied=True, windowed_layers=52, window_tokens=1024,
        source=_config_of("google/gemma-3-27b-it") + " (text model)",
    ),
    # Published in MXFP4: only the experts have 4 bits. Every second layer looks back 128 tokens.
    gated_decoder(
        "gpt-oss-20b", hidden=2880, layers=24, heads=64, kv_heads=8, head_dim=64, intermediate=2880,
        vocabulary=201088, is_tied=False, experts=32, experts_per_token=4, windowed_layers=12, window_tokens=128,
        bytes_per_param=INT4_BYTES, keeps_only_experts_narrow=True, source=_config_of("openai/gpt-oss-20b"),
    ),
    gated_decoder(
        "gpt-oss-120b", hidden=2880, layers=36, heads=64, kv_heads=8, head_dim=64, intermediate=2880,
        vocabulary=201088, is_tied=False, experts=128, experts_per_token=4, windowed_layers=18, window_tokens=128,
        bytes_per_param=INT4_BYTES, keeps_only_experts_narrow=True, source=_config_of("openai/gpt-oss-120b"),
    ),
    # Published in FP8.
    latent_decoder(
        "DeepSeek-V3", hidden=7168, layers=61, heads=128, query_rank=1536, latent=512, rope_dim=64, nope_dim=128,
        value_dim=128, dense_layers=3, dense_intermediate=18432, experts=256, experts_per_token=8,
        expert_intermediate=2048, shared_experts=1, vocabulary=129280, is_tied=False, bytes_per_param=FP8_BYTES,
        source=_config_of("deepseek-ai/DeepSeek-V3"),
    ),
)  # fmt: skip

DENSE_8B, NEMOTRON_3_NANO = CATALOGUE[:2]

_SHORT_NAMES = {
    "nemotron-3-nano": "nemotron-3-nano-30b-a3b",
    "llama-3.1-70b": "llama-3.3-70b",
    "deepseek-r1": "deepseek-v3",
    "deepseek-v3.1": "deepseek-v3",
}
"""Other names of models with the same dimensions."""

# What vendors add to a model's name without changing its dimensions.
_DECORATION = re.compile(
    r"^(nvidia|meta)-|-(bf16|fp16|fp8|nvfp4|mxfp4|awq|gptq|int4|w4a16|instruct|base|chat|it|hf|thinking|\d{4})$"
)
_FP8 = re.compile(r"-fp8\b")
_INT4 = re.compile(r"-(nvfp4|mxfp4|awq|gptq|int4|w4a16)\b")

ConfigSource = Callable[[str], Mapping[str, Any] | None]
"""The config of a model by its hub name; None where it cannot be had."""


def find(
    model_name: str, root: str | Path | None = None, config_source: ConfigSource | None = None
) -> ModelArchitecture:
    """The architecture of a served model: by its name from the catalogue, else from its config.json.

    The config is looked for in the folder `root`, in a folder called like the model, and in `config_source` under both
    names. Case, an organisation before the name and suffixes such as -Instruct, -BF16 or -FP8 do not matter to the
    name; -FP8, -AWQ and the like set the bytes of a parameter. Raises UnknownModelError, which says what to supply.
    """
    key = _undecorated(model_name)
    key = _SHORT_NAMES.get(key, key)
    for entry in CATALOGUE:
        if entry.name.lower() == key:
            return _as_named(entry, model_name.lower())
    places = [str(place) for place in (root, model_name) if place]
    for place in places:
        if config := _local_config(Path(place)):
            return from_config(config, name=model_name)
    if config_source is not None:
        for place in dict.fromkeys(places):
            if config := config_source(place):
                return from_config(config, name=model_name)
    raise UnknownModelError(
        f"The cost of the model {model_name!r} cannot be computed: its architecture is not known.",
        "Supply the local folder of its weights, with a config.json, or its name on the Hugging Face hub, as "
        f"VLLM_MODEL or as the server's root, or use one of {', '.join(entry.name for entry in CATALOGUE)}.",
    )


def _as_named(entry: ModelArchitecture, name: str) -> ModelArchitecture:
    if _FP8.search(name):
        return replace(entry, bytes_per_param=FP8_BYTES)
    return replace(entry, bytes_per_param=INT4_BYTES) if _INT4.search(name) else entry


def _local_config(folder: Path) -> Mapping[str, Any] | None:
    file = folder / "config.json"
    if not file.is_file():
        return None
    remedy = "Supply the complete config.json of the model."
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnknownModelError(f"{file} is no JSON: {error}.", remedy) from error
    if not isinstance(config, dict):
        raise UnknownModelError(f"{file} holds no JSON object.", remedy)
    return config


def _undecorated(model_name: str) -> str:
    key = model_name.rstrip("/").rsplit("/", 1)[-1].lower().replace("_", "-")
    while (shorter := _DECORATION.sub("", key)) != key:
        key = shorter
    return key
