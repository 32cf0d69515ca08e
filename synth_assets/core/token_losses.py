"""Negative log-likelihood of tokens without ever holding all their logits.

In: hidden states or logits to one figure a token. Out: the model that makes them (`language_model`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU_LOGIT_BYTES = 8 * 2**20
"""fp32 logits at a time on a processor: they stay in its cache between the multiplication and the sum."""

CUDA_LOGIT_BYTES = 512 * 2**20

MIN_BLOCK_TOKENS = 512
"""The narrowest block of the vocabulary that still multiplies at full speed."""


def losses_of_states(
    states: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Nats (fp64) of each target token, shape (positions,), of states (positions, width) under an output layer.

    The vocabulary is taken in blocks, so that the output layer is read once for all positions and its logits
    stay small; sums over it are made in fp32.
    """
    import torch
    from torch.nn.functional import linear

    block = max(MIN_BLOCK_TOKENS, _logit_bytes(states) // (4 * max(1, len(states))))
    biases = [None] * len(weight) if bias is None else bias.split(block)
    log_sums = [
        torch.logsumexp(linear(states, rows, row_biases).float(), dim=-1)
        for rows, row_biases in zip(weight.split(block), biases, strict=False)
    ]
    chosen = (states.float() * weight[targets].float()).sum(dim=-1)
    if bias is not None:
        chosen += bias[targets].float()
    return torch.logsumexp(torch.stack(log_sums).double(), dim=0) - chosen.double()


def losses_of_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats (fp64) of each target token, shape (positions,), of logits (positions, vocabulary) of any precision."""
    import torch
    from torch.nn.functional import cross_entropy

    step = max(1, _logit_bytes(logits) // (4 * logits.shape[-1]))
    return torch.cat(
        [
            cross_entropy(part.float(), target, reduction="none").double()
            for part, target in zip(logits.split(step), targets.split(step), strict=True)
        ]
    )


def _logit_bytes(tensor: torch.Tensor) -> int:
    return CUDA_LOGIT_BYTES if tensor.device.type == "cuda" else CPU_LOGIT_BYTES
