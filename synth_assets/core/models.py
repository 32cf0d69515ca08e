"""Known models by the name that a server gives them.

In: the catalogue, and finding an architecture by name or by the folder of its weights. Out: what an
architecture is and how a config is read (`architecture`).
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from synth_assets.core.architecture import (
    FP8_BYTES,
    ModelArchitecture,
    UnknownModelError,
    from_config,
    gated_decoder,
    gpt2_decoder,
)

CATALOGUE: tuple[ModelArchitecture, ...] = (
    gated_decoder(
        "Llama-3.1-8B", hidden=4096, layers=32, heads=32, kv_heads=8, head_dim=128, intermediate=14336,
        vocabulary=128256, is_tied=False, source="config.json",
    ),
    ModelArchitecture(
        # 23 Mamba-2, 23 mixture-of-experts and 6 attention layers; state: 23 x 64 heads x 64 x 128 in fp32.
        "Nemotron-3-Nano-30B-A3B", 31.6e9, 3.2e9, layers=52, attention_layers=6, d_attn=4096, kv_heads=2,
        head_dim=128, lookup_params=131072 * 2688, experts=128, experts_per_token=6,
        recurrent_state_bytes=23 * 64 * 64 * 128 * 4, source="NVIDIA's model card and config.json",
    ),
    gated_decoder(
        "SmolLM2-135M", hidden=576, layers=30, heads=9, kv_heads=3, head_dim=64, intermediate=1536,
        vocabulary=49152, is_tied=True, source="config.json",
    ),
    gated_decoder(
        "SmolLM2-1.7B", hidden=2048, layers=24, heads=32, kv_heads=32, head_dim=64, intermediate=8192,
        vocabulary=49152, is_tied=True, source="config.json",
    ),
    gpt2_decoder("GPT2", hidden=768, layers=12, heads=12, positions=1024, vocabulary=50257),
    gated_decoder(
        "Qwen3-8B", hidden=4096, layers=36, heads=32, kv_heads=8, head_dim=128, intermediate=12288,
        vocabulary=151936, is_tied=False, source="config.json",
    ),
    gated_decoder(
        "Qwen3-30B-A3B", hidden=2048, layers=48, heads=32, kv_heads=4, head_dim=128, intermediate=768,
        vocabulary=151936, is_tied=False, experts=128, experts_per_token=8, source="config.json",
    ),
    gated_decoder(
        # Experts in MXFP4: 12.8 GiB for 20.9 billion parameters. Every second layer looks back 128 tokens
        # only, which is not modelled: at long contexts its cache is overstated by up to half.
        "gpt-oss-20b", hidden=2880, layers=24, heads=64, kv_heads=8, head_dim=64, intermediate=2880,
        vocabulary=201088, is_tied=False, experts=32, experts_per_token=4,
        bytes_per_param=12.8 * 2**30 / 20.9e9, source="OpenAI's model card and config.json",
    ),
)  # fmt: skip

DENSE_8B = CATALOGUE[0]
NEMOTRON_3_NANO = CATALOGUE[1]

_SHORT_NAMES = {"nemotron-3-nano": "nemotron-3-nano-30b-a3b"}

# What vendors add to a model's name without changing its dimensions.
_DECORATION = re.compile(r"^(nvidia|meta)-|-(bf16|fp16|fp8|instruct|base|chat|it|hf|thinking|\d{4})$")


def find(model_name: str, root: str | Path | None = None) -> ModelArchitecture:
    """The architecture of a served model: from the catalogue by its name, else from `root`'s config.json.

    Case, an organisation before the name and suffixes such as -Instruct, -BF16 or -FP8 do not matter to the
    name; -FP8 sets the bytes of a parameter. Raises UnknownModelError, which says what to supply.
    """
    key = _undecorated(model_name)
    key = _SHORT_NAMES.get(key, key)
    for entry in CATALOGUE:
        if entry.name.lower() == key:
            is_fp8 = re.search(r"-fp8\b", model_name.lower()) is not None
            return replace(entry, bytes_per_param=FP8_BYTES) if is_fp8 else entry
    for folder in (root, model_name):
        if folder and (Path(folder) / "config.json").is_file():
            config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
            return from_config(config, name=model_name)
    raise UnknownModelError(
        f"The cost of the model {model_name!r} cannot be computed: its architecture is not known.",
        "Supply the local folder of its weights, with a config.json, as VLLM_MODEL or as the server's root, "
        f"or use one of {', '.join(entry.name for entry in CATALOGUE)}.",
    )


def _undecorated(model_name: str) -> str:
    key = model_name.rstrip("/").rsplit("/", 1)[-1].lower().replace("_", "-")
    while (shorter := _DECORATION.sub("", key)) != key:
        key = shorter
    return key
