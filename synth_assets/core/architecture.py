"""What a language model is made of, as far as its cost is concerned: parameters, layers, caches and experts.

In: the value object, and the bytes that follow from it. Out: counting parameters from dimensions (`decoders`), reading
a `config.json` (`model_config`), known models by name (`models`), and what a model costs (`roofline`, `cost`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from resources.errors import SettingError, SynthError

BF16_BYTES = 2.0
FP8_BYTES = 1.0
INT4_BYTES = 4.25 / 8
"""4 bits, and one 8-bit scale that 32 values share (MXFP4); AWQ and GPTQ with groups of 128 come to 4.2 bits."""

PRECISIONS = {"bf16": BF16_BYTES, "fp8": FP8_BYTES, "int4": INT4_BYTES}
"""Bytes of a weight by the name of the format."""


class UnknownModelError(SynthError):
    """No architecture is known for a model, so that nothing can be said about its cost."""


@dataclass(frozen=True)
class ModelArchitecture:
    """Dimensions of a decoder. Parameters are counts, not bytes; 0 in an optional field: the model has no such part."""

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
    """State of one sequence (Mamba and the like), read and written at each step."""
    bytes_per_param: float = BF16_BYTES
    source: str = ""
    hidden: int = 0
    """Width of what the layers hand on, and of what tensor-parallel GPUs exchange."""
    wide_params: float = 0.0
    """Kept in 16 bits where the other weights are quantized: embeddings and output layer, or all but the experts."""
    windowed_layers: int = 0
    """Attention layers that look back `window_tokens` only."""
    window_tokens: int = 0
    latent_width: int = 0
    """Numbers that latent attention (DeepSeek) caches for a token and layer, instead of keys and values."""
    decode_width: int = 0
    """Attention width of a decoded token where it is not `d_attn`: latent attention works on the latent itself."""
    blocks: int = 0
    """Attention, recurrent and MLP blocks, where they are not two a layer: one all-reduce each in tensor parallel."""

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
        return self._bytes(self.total_params, self.wide_params)

    def read_weight_bytes(self, expert_share: float) -> float:
        """Weights that a step reads when it touches that share (0 to 1) of each layer's experts."""
        idle = self.expert_params * (1 - expert_share)
        return self._bytes(self.total_params - self.lookup_params - idle, max(self.wide_params - self.lookup_params, 0))

    def _bytes(self, params: float, wide_params: float) -> float:
        wide_bytes = max(self.bytes_per_param, BF16_BYTES)
        return (params - wide_params) * self.bytes_per_param + wide_params * wide_bytes

    @property
    def kv_bytes_per_token(self) -> float:
        """Keys and values (or the latent) of one token in all attention layers, in bf16."""
        return self.attention_layers * self._kv_bytes_per_layer

    @property
    def _kv_bytes_per_layer(self) -> float:
        return (self.latent_width or 2 * self.kv_heads * self.head_dim) * BF16_BYTES

    def attended_tokens(self, context_tokens: float) -> float:
        """Tokens that one token looks back on, added up over the attention layers."""
        windowed = self.windowed_layers * min(context_tokens, self.window_tokens)
        return (self.attention_layers - self.windowed_layers) * context_tokens + windowed

    def kv_bytes(self, context_tokens: float) -> float:
        """KV cache of one sequence of that length; layers with a window keep no more than it."""
        return self.attended_tokens(context_tokens) * self._kv_bytes_per_layer

    def kv_copies(self, tensor_parallel: int) -> float:
        """How often that many GPUs hold the KV cache: each needs a head of its own, and a latent is not divided."""
        return tensor_parallel / (1 if self.latent_width else max(1, min(tensor_parallel, self.kv_heads)))

    def sequence_bytes(self, context_tokens: float) -> float:
        """KV cache and recurrent state of one sequence."""
        return self.kv_bytes(context_tokens) + self.recurrent_state_bytes

    @property
    def all_reduces(self) -> int:
        """Sums over tensor-parallel GPUs in one forward pass."""
        return self.blocks or 2 * self.layers

    def at_precision(self, precision: str) -> ModelArchitecture:
        """The model with its weights in that format; caches and activations stay as they are.

        Raises SettingError for a name that is not in PRECISIONS.
        """
        if precision not in PRECISIONS:
            raise SettingError(f"{precision!r} is no precision that is known.", f"Accepted: {', '.join(PRECISIONS)}.")
        return replace(self, bytes_per_param=PRECISIONS[precision])
