"""Parameters and state of decoders that mix softmax attention with recurrent layers: Nemotron-H, Qwen3-Next, Qwen3.5.

In: dimensions as a `config.json` has them. Out: decoders without recurrent layers (`decoders`), reading a config
(`model_config`).
"""

from __future__ import annotations

from synth_assets.core.architecture import BF16_BYTES, ModelArchitecture
from synth_assets.core.decoders import Attention, Mixture, attention_params, decoder, gated_mlp_params


def mamba2_params(hidden: int, heads: int, head_dim: int, groups: int, state_size: int, kernel: int) -> int:
    """One Mamba-2 mixer (arXiv:2405.21060): projections in and out, convolution, and vectors for each head."""
    inner = heads * head_dim
    convolved = inner + 2 * groups * state_size
    return hidden * (inner + convolved + heads) + convolved * (kernel + 1) + 3 * heads + inner + inner * hidden


def gated_delta_params(hidden: int, key_heads: int, value_heads: int, key_dim: int, value_dim: int, kernel: int) -> int:
    """One gated delta network (arXiv:2412.06464), as Qwen3-Next has it."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    projected = hidden * (2 * keys + 2 * values + 2 * value_heads)
    return projected + (2 * keys + values) * kernel + 2 * value_heads + value_dim + values * hidden


def mamba_hybrid_decoder(
    name: str,
    *,
    hidden: int,
    mamba_layers: int,
    mlp_layers: int,
    expert_layers: int,
    attention: Attention,
    mamba_heads: int,
    mamba_head_dim: int,
    mamba_groups: int,
    mamba_state_size: int,
    mamba_kernel: int = 4,
    state_bytes_per_number: float = 4.0,
    intermediate: int = 0,
    expert_intermediate: int = 0,
    shared_intermediate: int = 0,
    latent: int = 0,
    experts: int = 0,
    experts_per_token: int = 0,
    vocabulary: int,
    is_tied: bool,
    bytes_per_param: float = BF16_BYTES,
    source: str = "",
) -> ModelArchitecture:
    """Nemotron-H (arXiv:2504.03624): each layer is one Mamba-2, attention, MLP or mixture block, MLPs of two matrices.

    With `latent`, experts work in that width. The state is heads x head dimension x state size numbers a Mamba layer;
    the window of the convolution, 2% of it, is left out.
    """
    layers = mamba_layers + mlp_layers + expert_layers + attention.layers
    body = (layers + 1) * hidden + mlp_layers * 2 * hidden * intermediate
    body += mamba_layers * mamba2_params(
        hidden, mamba_heads, mamba_head_dim, mamba_groups, mamba_state_size, mamba_kernel
    )
    body += attention.layers * attention_params(hidden, attention.heads, attention.kv_heads, attention.head_dim)
    body += expert_layers * hidden * (experts + 2 * shared_intermediate + 2 * latent)
    expert = 2 * (latent or hidden) * expert_intermediate
    return decoder(
        name,
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        is_tied=is_tied,
        body_params=body,
        attention=attention,
        mixture=Mixture(expert_layers, experts, experts_per_token, expert) if expert_layers else None,
        state_bytes=mamba_layers * mamba_heads * mamba_head_dim * mamba_state_size * state_bytes_per_number,
        blocks=layers,
        bytes_per_param=bytes_per_param,
        source=source,
    )


def delta_hybrid_decoder(
    name: str,
    *,
    hidden: int,
    delta_layers: int,
    attention: Attention,
    key_heads: int,
    value_heads: int,
    key_dim: int,
    value_dim: int,
    kernel: int,
    state_bytes_per_number: float = BF16_BYTES,
    intermediate: int = 0,
    experts: int = 0,
    experts_per_token: int = 0,
    expert_intermediate: int = 0,
    shared_intermediate: int = 0,
    vocabulary: int,
    is_tied: bool,
    bytes_per_param: float = BF16_BYTES,
    source: str = "",
) -> ModelArchitecture:
    """Qwen3-Next and Qwen3.5: gated delta layers and gated attention, each with a gated MLP or a mixture behind it."""
    layers = delta_layers + attention.layers
    body = (2 * layers + 1) * hidden
    body += delta_layers * gated_delta_params(hidden, key_heads, value_heads, key_dim, value_dim, kernel)
    body += attention.layers * attention_params(
        hidden, attention.heads, attention.kv_heads, attention.head_dim, is_gated=True
    )
    mixture = None
    if experts:
        mixture = Mixture(layers, experts, experts_per_token, gated_mlp_params(hidden, expert_intermediate))
        body += layers * (hidden * (experts + 1) + gated_mlp_params(hidden, shared_intermediate))
    else:
        body += layers * gated_mlp_params(hidden, intermediate)
    return decoder(
        name,
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        is_tied=is_tied,
        body_params=body,
        attention=attention,
        mixture=mixture,
        state_bytes=delta_layers * value_heads * key_dim * value_dim * state_bytes_per_number,
        bytes_per_param=bytes_per_param,
        source=source,
    )
