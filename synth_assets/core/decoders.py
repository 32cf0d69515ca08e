"""Parameters of decoders counted from their dimensions, one function for each kind of block.

In: dimensions as a `config.json` has them. Out: models with recurrent layers (`hybrid_decoders`), reading a config
(`model_config`), and the models that are known by name (`models`). Biases of linear layers and single vectors are left
out where they are under 0.1% of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from synth_assets.core.architecture import BF16_BYTES, ModelArchitecture


@dataclass(frozen=True)
class Mixture:
    """The mixture-of-experts layers of a model, all alike."""

    layers: int
    experts: int
    experts_per_token: int
    expert_params: float
    """Of one expert in one layer."""


@dataclass(frozen=True)
class Attention:
    """The softmax attention of a model: how many layers have it, its heads, and windows where it has any."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    windowed_layers: int = 0
    window_tokens: int = 0
    latent_width: int = 0
    decode_width: int = 0


def attention_params(hidden: int, heads: int, kv_heads: int, head_dim: int, *, is_gated: bool = False) -> int:
    """Query, key, value and output matrices; a gate on the output doubles the query's."""
    return hidden * head_dim * ((3 if is_gated else 2) * heads + 2 * kv_heads)


def gated_mlp_params(hidden: int, intermediate: int) -> int:
    """Three matrices, as SwiGLU has them."""
    return 3 * hidden * intermediate


def latent_attention_params(
    hidden: int, heads: int, query_rank: int, latent: int, rope_dim: int, nope_dim: int, value_dim: int
) -> int:
    """DeepSeek's latent attention (arXiv:2405.04434); `query_rank` 0: queries are not compressed."""
    query = hidden * query_rank + query_rank * heads * (nope_dim + rope_dim)
    if not query_rank:
        query = hidden * heads * (nope_dim + rope_dim)
    key_value = hidden * (latent + rope_dim) + latent * heads * (nope_dim + value_dim)
    return query + key_value + heads * value_dim * hidden


def decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    vocabulary: int,
    is_tied: bool,
    body_params: float,
    attention: Attention,
    mixture: Mixture | None = None,
    state_bytes: float = 0.0,
    blocks: int = 0,
    bytes_per_param: float = BF16_BYTES,
    keeps_only_experts_narrow: bool = False,
    source: str = "",
) -> ModelArchitecture:
    """A decoder from its parts: `body_params` are those of all layers and norms, without routed experts and embeddings.

    Where weights are quantized, embedding and output layer stay in 16 bits, as published FP8 and 4-bit checkpoints have
    them; with `keeps_only_experts_narrow` everything but the routed experts does.
    """
    embedding = vocabulary * hidden
    lookup = 0 if is_tied else embedding
    always = body_params + embedding
    per_expert = mixture.layers * mixture.expert_params if mixture else 0.0
    return ModelArchitecture(
        name,
        total_params=always + lookup + (per_expert * mixture.experts if mixture else 0),
        active_params=always + (per_expert * mixture.experts_per_token if mixture else 0),
        layers=layers,
        attention_layers=attention.layers,
        d_attn=attention.heads * attention.head_dim,
        kv_heads=attention.kv_heads,
        head_dim=attention.head_dim,
        lookup_params=lookup,
        experts=mixture.experts if mixture else 0,
        experts_per_token=mixture.experts_per_token if mixture else 0,
        recurrent_state_bytes=state_bytes,
        bytes_per_param=bytes_per_param,
        source=source,
        hidden=hidden,
        wide_params=always + lookup if keeps_only_experts_narrow else embedding + lookup,
        windowed_layers=attention.windowed_layers,
        window_tokens=attention.window_tokens,
        latent_width=attention.latent_width,
        decode_width=attention.decode_width,
        blocks=blocks,
    )


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
    windowed_layers: int = 0,
    window_tokens: int = 0,
    bytes_per_param: float = BF16_BYTES,
    keeps_only_experts_narrow: bool = False,
    source: str = "",
) -> ModelArchitecture:
    """A decoder with gated MLPs, or with gated experts in all but `dense_layers` layers."""
    body = layers * attention_params(hidden, heads, kv_heads, head_dim) + (2 * layers + 1) * hidden
    mixture = None
    if experts:
        routed = layers - dense_layers
        mixture = Mixture(routed, experts, experts_per_token, gated_mlp_params(hidden, intermediate))
        body += routed * (hidden * experts + gated_mlp_params(hidden, shared_intermediate))
        body += dense_layers * gated_mlp_params(hidden, dense_intermediate)
    else:
        body += layers * gated_mlp_params(hidden, intermediate)
    return decoder(
        name,
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        is_tied=is_tied,
        body_params=body,
        attention=Attention(layers, heads, kv_heads, head_dim, windowed_layers, window_tokens),
        mixture=mixture,
        bytes_per_param=bytes_per_param,
        keeps_only_experts_narrow=keeps_only_experts_narrow,
        source=source,
    )


def gpt2_decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    positions: int,
    vocabulary: int,
    inner: int | None = None,
    source: str = "",
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
        source=source,
        hidden=hidden,
        wide_params=vocabulary * hidden + lookup,
    )


def latent_decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    query_rank: int,
    latent: int,
    rope_dim: int,
    nope_dim: int,
    value_dim: int,
    dense_layers: int,
    dense_intermediate: int,
    experts: int,
    experts_per_token: int,
    expert_intermediate: int,
    shared_experts: int,
    vocabulary: int,
    is_tied: bool,
    bytes_per_param: float = BF16_BYTES,
    source: str = "",
) -> ModelArchitecture:
    """DeepSeek-V2 and -V3 (arXiv:2412.19437): latent attention and gated experts, without extra prediction layers.

    A token's cache is its latent and one rotated key for all heads; decoding works on the latent itself.
    """
    routed = layers - dense_layers
    body = layers * latent_attention_params(hidden, heads, query_rank, latent, rope_dim, nope_dim, value_dim)
    body += (2 * layers + 1) * hidden + dense_layers * gated_mlp_params(hidden, dense_intermediate)
    body += routed * (hidden * experts + gated_mlp_params(hidden, shared_experts * expert_intermediate))
    return decoder(
        name,
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        is_tied=is_tied,
        body_params=body,
        attention=Attention(
            layers,
            heads,
            heads,
            (nope_dim + rope_dim + value_dim) // 2,
            latent_width=latent + rope_dim,
            decode_width=heads * (2 * latent + rope_dim) // 2,
        ),
        mixture=Mixture(routed, experts, experts_per_token, gated_mlp_params(hidden, expert_intermediate)),
        bytes_per_param=bytes_per_param,
        source=source,
    )
