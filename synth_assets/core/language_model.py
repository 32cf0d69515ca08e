"""A causal language model that says how likely tokens are.

In: loading, the choice of device and precision, and one forward pass for a batch of windows. Out: windows and
batches (`windows`), faster layers (`faster_layers`), the losses of tokens (`token_losses`), and the figures made of
them (`perplexity`). PyTorch and Transformers are imported at
loading only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from resources.errors import SynthError
from synth_assets.core.faster_layers import keep_sums_in_float32, use_faster_layers
from synth_assets.core.token_losses import losses_of_logits, losses_of_states
from synth_assets.core.windows import Window, padded, scored_positions

DType = Literal["auto", "float32", "bfloat16", "float16"]

MAX_WINDOW_TOKENS = 8192
"""Longest window, also of a model with a longer context, since attention grows with its square."""

CPU_BATCH_TOKENS = 512
"""A processor is busy with that many, and what one layer hands to the next stays in its cache; larger batches add
padding (`benchmarks/perplexity.py --batch-tokens`)."""

CUDA_BATCH_TOKENS = 65_536


@dataclass(frozen=True)
class Hardware:
    """Where a model computes, in what precision, and how many tokens at a time."""

    device: str
    dtype: str
    batch_tokens: int


def choose_hardware(device: str, dtype: DType) -> Hardware:
    """A GPU where there is one, and bf16 where the hardware computes in it (else fp32), unless they are given."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    is_cuda = torch.device(device).type == "cuda"
    if dtype == "auto":
        if is_cuda:
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            features = torch.cpu.get_capabilities()
            has_bf16 = bool(features.get("avx512_bf16") or features.get("amx_bf16"))
        dtype = "bfloat16" if has_bf16 else "float32"
    return Hardware(device, dtype, CUDA_BATCH_TOKENS if is_cuda else CPU_BATCH_TOKENS)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model with its tokenizer, ready to score windows of at most `context_tokens`."""

    model: Any
    tokenizer: Any
    bos_token_id: int | None
    context_tokens: int
    max_batch_tokens: int
    is_head_separable: bool
    dtype: str
    """What the linear layers multiply in, for example `bfloat16`."""

    @classmethod
    def load(
        cls,
        path_or_name: str,
        device: str = "auto",
        dtype: DType = "auto",
        max_batch_tokens: int | None = None,
    ) -> LanguageModel:
        """Load from a folder or the hub. Raises SynthError when that fails or the model is not causal."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        hardware = choose_hardware(device, dtype)
        remedy = "Set PERPLEXITY_MODEL to a local folder or a hub name of a causal language model."
        try:
            with _progress_of_downloads_only(path_or_name):
                tokenizer = AutoTokenizer.from_pretrained(path_or_name)
                model: Any = AutoModelForCausalLM.from_pretrained(path_or_name, dtype=getattr(torch, hardware.dtype))
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            fact = f"The reference model {path_or_name!r} cannot be loaded: {error}"
            raise SynthError(fact, remedy) from error
        use_faster_layers(model)
        if hardware.dtype != "float32":
            keep_sums_in_float32(model)
        model = model.to(hardware.device).eval()
        with _multiplying_in(hardware.dtype, model):
            is_causal, is_head_separable = _is_causal(model), _is_head_separable(model)
        if not is_causal:
            raise SynthError(f"The reference model {path_or_name!r} looks ahead: it has no perplexity.", remedy)
        bos = tokenizer.bos_token_id
        limit = getattr(model.config, "max_position_embeddings", None) or MAX_WINDOW_TOKENS
        return cls(
            model=model,
            tokenizer=tokenizer,
            bos_token_id=model.config.bos_token_id if bos is None else bos,
            context_tokens=min(int(limit), MAX_WINDOW_TOKENS),
            max_batch_tokens=max_batch_tokens or hardware.batch_tokens,
            is_head_separable=is_head_separable,
            dtype=hardware.dtype,
        )

    def token_ids(self, text: str) -> npt.NDArray[np.int64]:
        """Tokens of a text behind the BOS token, where there is one; special tokens in the text are plain
        text."""
        ids = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        return np.array(ids if self.bos_token_id is None else [self.bos_token_id, *ids], dtype=np.int64)

    def negative_log_likelihoods(self, batch: Sequence[Window]) -> list[float]:
        """Nats of each window's scored tokens, summed."""
        return [float(losses.sum()) for losses in self.token_losses(batch)]

    def token_losses(self, batch: Sequence[Window]) -> list[npt.NDArray[np.float64]]:
        """Nats of each scored token of each window.

        Padding is on the right, where a causal model's real tokens cannot see it, so that no attention mask
        is needed and attention takes its fast causal path.
        """
        import torch

        device = self.model.device
        ids = torch.from_numpy(padded(batch)).to(device)
        rows, columns = (torch.from_numpy(index).to(device) for index in scored_positions(batch))
        targets = ids[rows, columns]
        with torch.inference_mode(), _multiplying_in(self.dtype, self.model):
            if self.is_head_separable:
                states = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
                head = self.model.get_output_embeddings()
                nats = losses_of_states(states[rows, columns - 1], targets, head.weight, head.bias)
            else:
                logits = self.model(input_ids=ids, use_cache=False).logits
                nats = losses_of_logits(logits[rows, columns - 1], targets)
        ends = np.cumsum([window.scored_count for window in batch])
        return np.split(nats.cpu().numpy(), ends[:-1])


def _multiplying_in(dtype: str, model: Any) -> AbstractContextManager[Any]:
    import torch

    is_lower = dtype != "float32"
    return torch.autocast(model.device.type, getattr(torch, dtype) if is_lower else None, enabled=is_lower)


@contextmanager
def _progress_of_downloads_only(path_or_name: str) -> Iterator[None]:
    """No bar for weights of a local folder, which take a second; a download keeps its bar."""
    from transformers.utils import logging

    if not (Path(path_or_name).is_dir() and logging.is_progress_bar_enabled()):
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _is_causal(model: Any) -> bool:
    """Whether what comes later changes nothing: a model that looks ahead would find each token easy."""
    import torch

    probe = torch.tensor([[0, 1, 2], [0, 1, 3]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=probe, use_cache=False).logits[:, :2]
    return torch.allclose(logits[0], logits[1], rtol=1e-3, atol=1e-3)


def _is_head_separable(model: Any) -> bool:
    """Whether logits are the output layer applied to the last hidden states, and nothing else.

    Then only scored positions need logits. Some models scale or cap their logits; a probe of three tokens
    tells.
    """
    import torch

    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    probe = torch.tensor([[0, 1, 2]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=probe, use_cache=False).logits
        states = getattr(model.base_model(input_ids=probe, use_cache=False), "last_hidden_state", None)
        return states is not None and torch.allclose(head(states), logits, rtol=1e-3, atol=1e-3)
