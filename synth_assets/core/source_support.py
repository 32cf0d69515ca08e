"""How much of a text its source explains: what a small model saves, in bits, when it has read the source before.

In: pairs of passage and text to figures, for the text and for its sentences. Out: the model (`language_model`), and
which passage belongs to which text (the asset). The figure is the pointwise mutual information of text and source under
the model, as a share of what the text takes without the source: 1 for a copy, about 0 for what has nothing to do with
it, below 0 where the source misleads. It is cheap beside a judge, and it points at a sentence. It is no proof: a small
model is as surprised by a bold paraphrase as by an invention.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synth_assets.core.sentences import sentence_ends
from synth_assets.core.windows import Window, batches

if TYPE_CHECKING:
    from synth_assets.core.language_model import LanguageModel

BETWEEN = "\n\n"
MIN_SENTENCE_TOKENS = 6
"""What a shorter sentence saves depends on where a word is split."""
BUFFERED_TOKENS = 16_384
"""Windows of so many tokens are sorted by length at a time."""


@dataclass(frozen=True)
class SourcePair:
    """One text, and the passage that it was made of."""

    source: str
    text: str


@dataclass(frozen=True)
class SentenceSupport:
    """One sentence of the text with the space before it; nats of its tokens, without and with the source."""

    text: str
    token_count: int
    nats: float
    nats_given_source: float

    @property
    def explained_share(self) -> float:
        """1 - nats with the source / nats without."""
        return 1 - self.nats_given_source / self.nats if self.nats else 0.0


@dataclass(frozen=True)
class SourceSupport:
    """What one text takes without and with its source."""

    sentences: tuple[SentenceSupport, ...]
    byte_count: int

    @property
    def bits_per_byte(self) -> float:
        """Bits over UTF-8 bytes of the text alone."""
        return sum(sentence.nats for sentence in self.sentences) / math.log(2) / self.byte_count

    @property
    def bits_per_byte_given_source(self) -> float:
        """Bits over UTF-8 bytes of the text behind its source."""
        return sum(sentence.nats_given_source for sentence in self.sentences) / math.log(2) / self.byte_count

    @property
    def explained_share(self) -> float:
        """Share of the text's bits that the source saves."""
        alone = self.bits_per_byte
        return 1 - self.bits_per_byte_given_source / alone if alone else 0.0

    @property
    def least_supported(self) -> SentenceSupport | None:
        """The sentence that the source explains least; None where all are too short to tell."""
        long = [sentence for sentence in self.sentences if sentence.token_count >= MIN_SENTENCE_TOKENS]
        return min(long, key=lambda sentence: sentence.explained_share, default=None)


def joined(parts: Sequence[SourceSupport]) -> SourceSupport | None:
    """Several passages' texts as one; None for none."""
    if not parts:
        return None
    sentences = tuple(sentence for part in parts for sentence in part.sentences)
    return SourceSupport(sentences, sum(part.byte_count for part in parts))


@dataclass(frozen=True)
class _Cut:
    """A text in sentences, each with its number of scored tokens, and the two windows that it is scored in."""

    sentences: list[str]
    token_counts: list[int]
    byte_count: int
    windows: tuple[Window, Window]


def source_supports(model: LanguageModel, pairs: Iterable[SourcePair]) -> Iterator[SourceSupport | None]:
    """One figure for each pair, in order, reading some thousand tokens ahead.

    None where the text is empty, or where passage and text together do not fit the model's context: half a source
    would make what the other half says look invented.
    """
    buffered: list[_Cut | None] = []
    token_count = 0
    for pair in pairs:
        cut = _cut(model, pair, 2 * len(buffered))
        buffered.append(cut)
        token_count += sum(len(window.token_ids) for window in cut.windows) if cut else 1
        if token_count >= BUFFERED_TOKENS:
            yield from _scored(model, buffered)
            buffered, token_count = [], 0
    yield from _scored(model, buffered)


def _cut(model: LanguageModel, pair: SourcePair, first_index: int) -> _Cut | None:
    ends = [*sentence_ends(pair.text), len(pair.text)]
    texts = [pair.text[begin:end] for begin, end in pairwise([0, *ends]) if pair.text[begin:end].strip()]
    has_bos = model.bos_token_id is not None
    ids = [model.token_ids(text)[has_bos:] for text in texts]
    if not texts or not len(ids[0]):
        return None
    bare = np.concatenate(ids)
    start = model.token_ids("")
    prefix = model.token_ids(pair.source + BETWEEN)
    if len(prefix) + len(bare) > model.context_tokens:
        return None
    counts = [len(part) for part in ids]
    if not has_bos:
        # Nothing stands before the first token of a text alone: it is context in both windows.
        counts[0] -= 1
    windows = (
        Window(first_index, np.concatenate([start, bare]), sum(counts)),
        Window(first_index + 1, np.concatenate([prefix, bare]), sum(counts)),
    )
    return _Cut(texts, counts, len(pair.text.encode()), windows) if sum(counts) else None


def _scored(model: LanguageModel, cuts: Sequence[_Cut | None]) -> Iterator[SourceSupport | None]:
    losses: dict[int, npt.NDArray[np.float64]] = {}
    all_windows = [window for cut in cuts if cut for window in cut.windows]
    for batch in batches(all_windows, model.max_batch_tokens):
        for window, found in zip(batch, model.token_losses(batch), strict=True):
            losses[window.text_index] = found
    for cut in cuts:
        if cut is None:
            yield None
            continue
        alone, given = (_by_sentence(losses[window.text_index], cut.token_counts) for window in cut.windows)
        sentences = map(SentenceSupport, cut.sentences, cut.token_counts, alone, given)
        yield SourceSupport(tuple(sentences), cut.byte_count)


def _by_sentence(losses: npt.NDArray[np.float64], token_counts: Sequence[int]) -> list[float]:
    return [float(part.sum()) for part in np.split(losses, np.cumsum(token_counts)[:-1])]
