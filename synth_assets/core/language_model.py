"""A causal language model that says how likely tokens are.

In: loading, the choice of device and precision, and one forward pass for a batch of windows. Out: windows and
batches (`windows`), and the figures made of them (`perplexity`). PyTorch and Transformers are imported at
loading only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from resources.errors import SynthError
from synth_assets.core.windows import Window, padded, scored_positions

if TYPE_CHECKING:
    import torch

DType = Literal["auto", "float32", "bfloat16", "float16"]

MAX_WINDOW_TOKENS = 8192
"""Longest window, also of a model with a longer context, since attention grows with its square."""

CPU_BATCH_TOKENS = 1024
"""A processor is busy with that many; larger batches only add padding (GPT-2-sized model in bf16, one thread,
mixed lengths: 399 tokens/s with 1,024, 336 with 2,048, 297 with 4,096)."""

CUDA_BATCH_TOKENS = 65_536

LOGIT_BYTES = 128 * 2**20
"""fp32 logits are made for as many positions at a time as fit here (vocabulary of 50,257: 667 positions)."""


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model with its tokenizer, ready to score windows of at most `context_tokens`."""

    model: Any
    tokenizer: Any
    bos_token_id: int | None
    context_tokens: int
    max_batch_tokens: int
    is_head_separable: bool

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

        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        kind = getattr(torch, _best_dtype(place.type) if dtype == "auto" else dtype)
        remedy = "Set PERPLEXITY_MODEL to a local folder or a hub name of a causal language model."
        try:
            with _progress_of_downloads_only(path_or_name):
                tokenizer = AutoTokenizer.from_pretrained(path_or_name)
                model: Any = AutoModelForCausalLM.from_pretrained(path_or_name, dtype=kind)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            fact = f"The reference model {path_or_name!r} cannot be loaded: {error}"
            raise SynthError(fact, remedy) from error
        model = model.to(place).eval()
        if not _is_causal(model):
            raise SynthError(f"The reference model {path_or_name!r} looks ahead: it has no perplexity.", remedy)
        bos = tokenizer.bos_token_id
        limit = getattr(model.config, "max_position_embeddings", None) or MAX_WINDOW_TOKENS
        return cls(
            model=model,
            tokenizer=tokenizer,
            bos_token_id=model.config.bos_token_id if bos is None else bos,
            context_tokens=min(int(limit), MAX_WINDOW_TOKENS),
            max_batch_tokens=max_batch_tokens or (CUDA_BATCH_TOKENS if place.type == "cuda" else CPU_BATCH_TOKENS),
            is_head_separable=_is_head_separable(model),
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
        """Nats of each window's scored tokens, summed.

        Padding is on the right, where a causal model's real tokens cannot see it, so that no attention mask
        is needed and attention takes its fast causal path.
        """
        import torch

        device = self.model.device
        ids = torch.from_numpy(padded(batch)).to(device)
        rows, columns = (torch.from_numpy(index).to(device) for index in scored_positions(batch))
        with torch.inference_mode():
            if self.is_head_separable:
                states = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            else:
                states = self.model(input_ids=ids, use_cache=False).logits
            nats = self._nats(states[rows, columns - 1], ids[rows, columns])
            return torch.zeros(len(batch), dtype=torch.float64, device=device).index_add(0, rows, nats).tolist()

    def _nats(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of each target in fp64, by slices so that fp32 logits stay small."""
        import torch

        head: Any = self.model.get_output_embeddings() if self.is_head_separable else torch.nn.Identity()
        vocabulary = head.weight.shape[0] if self.is_head_separable else states.shape[-1]
        step = max(1, LOGIT_BYTES // (4 * vocabulary))
        return torch.cat(
            [
                torch.nn.functional.cross_entropy(head(part).float(), target, reduction="none").double()
                for part, target in zip(states.split(step), targets.split(step), strict=True)
            ]
        )


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


def _best_dtype(device_type: str) -> str:
    """bf16 where the hardware computes in it, else fp32."""
    import torch

    if device_type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    features = torch.cpu.get_capabilities() if device_type == "cpu" else {}
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"


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
    if head is None or model.base_model is model:
        return False
    probe = torch.tensor([[0, 1, 2]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=probe, use_cache=False).logits
        states = getattr(model.base_model(input_ids=probe, use_cache=False), "last_hidden_state", None)
        return states is not None and torch.allclose(head(states), logits, rtol=1e-3, atol=1e-3)
