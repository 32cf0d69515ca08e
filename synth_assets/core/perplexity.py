"""How surprising a text is to a reference model: perplexity and bits per byte, batched and never cut.

In: a stream of texts to a stream of scores. Out: windows (`windows`), the model (`language_model`), which
model that is (`reference_model`), and what the figures say about a strategy (`quality`).

What exactly is scored: a text gets a BOS token in front where the tokenizer or the model's config names one
(GPT-2: `<|endoftext|>`), which is context and never scored itself; without one the text's first token is
context only. A text longer than the model's context is scored in windows that overlap by half, each token
once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from synth_assets.core.language_model import DType, LanguageModel
from synth_assets.core.reference_model import ReferenceModel, resolve_reference_model
from synth_assets.core.windows import Window, batches, windows

__all__ = ["PerplexityScorer", "ReferenceModel", "TextScore", "resolve_reference_model"]

BUFFERED_BATCHES = 32
"""Windows of that many batches are sorted by length at a time: enough for little padding, and flat memory."""

MAX_BUFFERED_TEXTS = 10_000


@dataclass(frozen=True)
class TextScore:
    """What the reference model makes of one text."""

    negative_log_likelihood: float
    """Nats, summed over the scored tokens."""
    scored_token_count: int
    byte_count: int
    """UTF-8 bytes of the whole text."""

    @property
    def perplexity(self) -> float | None:
        """exp of the mean negative log-likelihood; None where no token was scored (an empty text)."""
        if self.scored_token_count == 0:
            return None
        return math.exp(self.negative_log_likelihood / self.scored_token_count)

    @property
    def bits_per_byte(self) -> float | None:
        """Bits over UTF-8 bytes, which a finer tokenizer does not change; None where no token was scored."""
        if self.scored_token_count == 0:
            return None
        return self.negative_log_likelihood / math.log(2) / self.byte_count


class PerplexityScorer:
    """Scores texts with one causal language model, on a GPU where there is one."""

    def __init__(
        self,
        model_path_or_name: str | Path,
        device: str = "auto",
        dtype: DType = "auto",
        max_batch_tokens: int | None = None,
    ) -> None:
        """Name the model; it is loaded at the first text.

        `dtype` auto is bf16 where the hardware computes in it (CUDA from Ampere on, processors with
        AVX512-BF16 or AMX: two to three times as fast there, embeddings, norms and sums stay in fp32), else fp32.
        `max_batch_tokens` bounds tokens and padding of one forward pass.
        """
        self.model_path_or_name = str(model_path_or_name)
        self._device = device
        self._dtype: DType = dtype
        self._max_batch_tokens = max_batch_tokens

    def score(self, texts: Iterable[str]) -> Iterator[TextScore]:
        """Yield the score of each text, in input order, reading no further ahead than some batches.

        Raises SynthError when the model cannot be loaded. Nothing is loaded for no texts.
        """
        buffered: list[Window] = []
        byte_counts: list[int] = []
        token_count = 0
        for text in texts:
            model = self.model
            ids = model.token_ids(text)
            buffered.extend(windows(len(byte_counts), ids, model.context_tokens))
            byte_counts.append(len(text.encode()))
            token_count += len(ids)
            if token_count >= BUFFERED_BATCHES * model.max_batch_tokens or len(byte_counts) == MAX_BUFFERED_TEXTS:
                yield from self._score_buffer(buffered, byte_counts)
                buffered, byte_counts, token_count = [], [], 0
        if byte_counts:
            yield from self._score_buffer(buffered, byte_counts)

    def _score_buffer(self, buffered: list[Window], byte_counts: list[int]) -> Iterator[TextScore]:
        nats = [0.0] * len(byte_counts)
        counts = [0] * len(byte_counts)
        for batch in batches(buffered, self.model.max_batch_tokens):
            for window, loss in zip(batch, self.model.negative_log_likelihoods(batch), strict=True):
                nats[window.text_index] += loss
                counts[window.text_index] += window.scored_count
        for loss, count, byte_count in zip(nats, counts, byte_counts, strict=True):
            yield TextScore(loss, count, byte_count)

    @cached_property
    def model(self) -> LanguageModel:
        """The loaded model."""
        return LanguageModel.load(self.model_path_or_name, self._device, self._dtype, self._max_batch_tokens)

    @property
    def device_name(self) -> str:
        """Where it computes, for example `cpu` or `cuda:0`."""
        return str(self.model.model.device)

    @property
    def dtype_name(self) -> str:
        """What it computes in, for example `bfloat16`."""
        return self.model.dtype
