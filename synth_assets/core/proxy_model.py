"""A small decoder over bytes: made from a seed, trained on windows, measured in bits per byte.

In: one model's life. Out: which texts it is trained on (`proxy_pretraining`). PyTorch and Transformers are imported
when a model is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from synth_assets.core.proxy_text import END_OF_TEXT, VOCABULARY_SIZE, Ids

BYTES = 256
WARM_UP_SHARE = 0.1
LAST_RATE_SHARE = 0.1
"""The learning rate falls along a cosine to this share of its peak."""
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class ProxyConfig:
    """Size of the model and length of its training. The defaults fit two cores of a CPU."""

    layers: int = 2
    width: int = 128
    heads: int = 4
    context_bytes: int = 256
    batch_windows: int = 4
    steps: int = 120
    learning_rate: float = 3e-3
    weight_decay: float = 0.1

    @property
    def train_bytes(self) -> int:
        """Ids that a training sees, the same for every arm."""
        return self.steps * self.batch_windows * self.context_bytes

    @property
    def window_count(self) -> int:
        """Windows that a training sees."""
        return self.steps * self.batch_windows


CPU_CONFIG = ProxyConfig()
CUDA_CONFIG = ProxyConfig(
    layers=8, width=512, heads=8, context_bytes=1024, batch_windows=64, steps=1000, learning_rate=1e-3
)
"""26 million parameters on 66 MB."""


def proxy_device() -> str:
    """A GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def new_model(config: ProxyConfig, seed: int, device: str) -> Any:
    """A Llama decoder with random weights: the same for the same seed, whatever was drawn before."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY_SIZE,
                hidden_size=config.width,
                intermediate_size=4 * config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                max_position_embeddings=config.context_bytes,
                bos_token_id=END_OF_TEXT,
                eos_token_id=END_OF_TEXT,
                tie_word_embeddings=True,
                use_cache=False,
            )
        )
    return model.to(device)


def parameter_count(model: Any) -> int:
    """Weights of a model, those that are tied counted once."""
    return sum(weight.numel() for weight in model.parameters())


def train(model: Any, config: ProxyConfig, drawn: Iterable[Ids]) -> list[float]:
    """Train on windows of `context_bytes` + 1 ids, `batch_windows` at a step; the loss of each step in bits.

    AdamW with warm-up and a cosine schedule; bf16 on a GPU, float32 elsewhere. Ends with the windows, or after
    `steps`.
    """
    import torch

    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )
    model.train()
    losses: list[Any] = []
    for step, batch in enumerate(islice(_batches(drawn, config.batch_windows), config.steps)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate_share(step, config.steps)
        ids = torch.from_numpy(np.stack(batch).astype(np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        losses.append(loss.detach())
    return [loss.item() / math.log(2) for loss in losses]


def bits_per_byte(model: Any, held_out: Ids, context_bytes: int, batch_windows: int = 32) -> float:
    """Mean surprise at the bytes of packed documents, each seen with what stands before it in its window.

    Only bytes are predicted and only bytes are possible, so that a model that knows nothing has exactly 8 bits per
    byte. ValueError where there is no byte.
    """
    import torch

    device = next(model.parameters()).device
    model.eval()
    total, count = 0.0, 0
    cuts = [held_out[start : start + context_bytes + 1] for start in range(0, held_out.size - 1, context_bytes)]
    with torch.no_grad():
        for batch in _batches(cuts, batch_windows):
            # The last window is shorter; what fills it up stands behind all that is scored.
            filled = np.full((len(batch), context_bytes + 1), END_OF_TEXT, dtype=np.int64)
            for row, window in zip(filled, batch, strict=True):
                row[: window.size] = window
            ids = torch.from_numpy(filled).to(device)
            logits = model(input_ids=ids[:, :-1]).logits[..., :BYTES].flatten(0, 1).float()
            targets = ids[:, 1:].flatten()
            scored = targets != END_OF_TEXT
            total += torch.nn.functional.cross_entropy(logits[scored], targets[scored], reduction="sum").item()
            count += int(scored.sum())
    if not count:
        raise ValueError("no byte to score")
    return total / count / math.log(2)


def _batches(drawn: Iterable[Ids], size: int) -> Iterator[Sequence[Ids]]:
    remaining = iter(drawn)
    while batch := list(islice(remaining, size)):
        yield batch


def _rate_share(step: int, steps: int) -> float:
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return LAST_RATE_SHARE + (1 - LAST_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
