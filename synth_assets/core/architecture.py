"""What a language model is made of, as far as its cost is concerned: parameters, layers, caches and experts.

In: the value object, and reading it from a Hugging Face `config.json`. Out: known models by name (`models`),
and what a model costs (`roofline`, `cost`). Parameters follow from dimensions; what is not understood is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from resources.errors import SynthError

BF16_BYTES = 2.0
FP8_BYTES = 1.0

_GATED_TYPES = frozenset(
    "cohere gemma gemma2 gemma3_text gpt_oss granite llama ministral mistral mixtral".split()  # noqa: SIM905
    + "olmo olmo2 phi3 qwen2 qwen2_moe qwen3 qwen3_moe smollm3 stablelm".split()  # noqa: SIM905
)
# Tied where their config.json says nothing, as transformers has it; the other kinds are not.
_TIED_TYPES = frozenset({"cohere", "gemma", "gemma2", "gemma3_text", "smollm3"})


class UnknownModelError(SynthError):
    """No architecture is known for a model, so that nothing can be said about its cost."""


@dataclass(frozen=True)
class ModelArchitecture:
    """Dimensions of a decoder. Parameters are counts, not bytes."""

    name: str
    total_params: float
    """All that lies in memory."""
    active_params: float
    """Multiplied for each token: without an input embedding that is only looked up, with the output layer."""
    layers: int
    attention_layers: int
    """Layers with softmax attention, the only ones with a KV cache and a cost that grows with the context."""
    d_attn: int
    """Query heads times head dimension."""
    kv_heads: int
    head_dim: int
    lookup_params: float = 0.0
    """Input embedding where it is not the output layer as well: memory, but neither FLOPs nor traffic."""
    experts: int = 0
    experts_per_token: int = 0
    recurrent_state_bytes: float = 0.0
    """State of one sequence (Mamba and the like), read and written at each step. 0: none."""
    bytes_per_param: float = BF16_BYTES
    source: str = ""

    @property
    def is_moe(self) -> bool:
        """Whether tokens are routed to experts."""
        return self.experts > 0

    @property
    def expert_params(self) -> float:
        """Parameters of all routed experts: total and active ones differ by the experts left out."""
        if not self.is_moe:
            return 0.0
        idle_share = 1 - self.experts_per_token / self.experts
        return (self.total_params - self.lookup_params - self.active_params) / idle_share

    @property
    def weight_bytes(self) -> float:
        """Memory of the weights."""
        return self.total_params * self.bytes_per_param

    @property
    def kv_bytes_per_token(self) -> float:
        """Keys and values of one token in all attention layers, in bf16."""
        return 2 * self.attention_layers * self.kv_heads * self.head_dim * BF16_BYTES


def gated_decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    intermediate: int,
    vocabulary: int,
    is_tied: bool,
    experts: int = 0,
    experts_per_token: int = 0,
    dense_layers: int = 0,
    dense_intermediate: int = 0,
    shared_intermediate: int = 0,
    bytes_per_param: float = BF16_BYTES,
    source: str = "",
) -> ModelArchitecture:
    """A decoder with gated MLPs (three matrices), or with gated experts in all but `dense_layers` layers."""
    attention = hidden * head_dim * 2 * (heads + kv_heads)
    norms = (2 * layers + 1) * hidden
    mlp = 3 * hidden * intermediate
    embedding = vocabulary * hidden
    dense = layers * attention + norms + embedding
    if not experts:
        total = active = dense + layers * mlp
    else:
        moe_layers = layers - dense_layers
        always = moe_layers * (hidden * experts + 3 * hidden * shared_intermediate)
        always += dense_layers * 3 * hidden * dense_intermediate + dense
        total, active = always + moe_layers * experts * mlp, always + moe_layers * experts_per_token * mlp
    lookup = 0 if is_tied else embedding
    return ModelArchitecture(
        name, total + lookup, active, layers, layers, heads * head_dim, kv_heads, head_dim, lookup, experts,
        experts_per_token, 0.0, bytes_per_param, source,
    )  # fmt: skip


def gpt2_decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    positions: int,
    vocabulary: int,
    inner: int | None = None,
) -> ModelArchitecture:
    """GPT-2: two-matrix MLP (four times as wide by default), biases, learned positions, tied output layer."""
    inner = inner or 4 * hidden
    layer = 4 * hidden**2 + 2 * hidden * inner + 9 * hidden + inner
    params = layers * layer + 2 * hidden + vocabulary * hidden
    lookup = positions * hidden
    return ModelArchitecture(
        name,
        params + lookup,
        params,
        layers,
        layers,
        hidden,
        heads,
        hidden // heads,
        lookup,
        source="config.json",
    )


def from_config(config: Mapping[str, Any], name: str = "") -> ModelArchitecture:
    """Read a Hugging Face config: Llama-like dense models, GPT-2, and mixtures of gated experts.

    Raises UnknownModelError for any other kind (recurrent layers, latent attention, encoders).
    """
    config = {**config, **config.get("text_config", {})}
    kind = str(config.get("model_type", ""))
    name = name or str(config.get("_name_or_path") or kind)
    try:
        if kind == "gpt2":
            found = gpt2_decoder(
                name,
                hidden=config["n_embd"],
                layers=config["n_layer"],
                heads=config["n_head"],
                positions=config["n_positions"],
                vocabulary=config["vocab_size"],
                inner=config.get("n_inner"),
            )
        elif kind in _GATED_TYPES and "kv_lora_rank" not in config:
            found = _gated_from_config(config, name)
        else:
            raise UnknownModelError(
                f"The config of {name!r} (model_type {kind!r}) is of a kind whose cost is not known.",
                f"Known are gpt2, {', '.join(sorted(_GATED_TYPES))}; add an entry to CATALOGUE for another.",
            )
    except KeyError as missing:
        raise UnknownModelError(
            f"The config of {name!r} has no field {missing}.", "Supply the complete config.json of the model."
        ) from missing
    return replace(found, bytes_per_param=_bytes_per_param(config))


def _gated_from_config(config: Mapping[str, Any], name: str) -> ModelArchitecture:
    heads = config["num_attention_heads"]
    layers = config["num_hidden_layers"]
    experts = config.get("num_local_experts") or config.get("num_experts") or 0
    every = config.get("decoder_sparse_step") or 1
    listed = set(config.get("mlp_only_layers") or ())
    dense_layers = sum(1 for layer in range(layers) if layer in listed or (layer + 1) % every)
    return gated_decoder(
        name,
        hidden=config["hidden_size"],
        layers=layers,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=(config.get("moe_intermediate_size") if experts else 0) or config["intermediate_size"],
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", config["model_type"] in _TIED_TYPES)),
        experts=experts,
        experts_per_token=config["num_experts_per_tok"] if experts else 0,
        dense_layers=dense_layers if experts else 0,
        dense_intermediate=config["intermediate_size"],
        shared_intermediate=config.get("shared_expert_intermediate_size") or 0,
        source="config.json",
    )


def _bytes_per_param(config: Mapping[str, Any]) -> float:
    """As served: by the quantization that the config names, else 16 bits."""
    quantization = config.get("quantization_config") or {}
    method = str(quantization.get("quant_method", ""))
    if method == "mxfp4":
        return 4.25 / 8  # one shared 8-bit scale for 32 values of 4 bits
    if "fp8" in method:
        return FP8_BYTES
    if bits := quantization.get("bits"):
        return float(bits) / 8
    return BF16_BYTES  # servers run float32 checkpoints in 16 bits as well
