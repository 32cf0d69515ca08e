"""Does a text hold what a model is examined on? Runs of words that it shares with evaluation sets.

In: the index over evaluation texts, and looking a text up. Out: reading the sets (`synth_assets.evaluation_sets`).

A run of 13 words in common is what GPT-3 (arXiv:2005.14165, appendix C) calls contaminated; 8 is the shortest in use
(GPT-2). An index takes about 24 bytes for each distinct run: 16 for hash and place, 1 to 2 for flags, and the word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth_assets.core.gram_hashes import Hashes, gram_hashes, prefix_sums
from synth_assets.core.screening import Rejection
from synth_assets.core.words import span, words

MIN_ITEM_WORDS = 8
"""Shorter items are not looked for: "What is the capital of France?" stands in texts that no examination was taken
from. An item between this and the run's length counts where it stands in the text as a whole."""

MAX_SPAN_CHARS = 200

_BYTE_SHIFT, _BIT_MASK, _ONE = np.uint64(3), np.uint64(7), np.uint64(1)


@dataclass(frozen=True)
class Hit:
    """A run of words of a text that stands in an evaluation set."""

    set_name: str
    first_word: int
    word_count: int


@dataclass(frozen=True)
class _Runs:
    """All runs of one length: sorted hashes, and where in the index's text each begins."""

    length: int
    hashes: Hashes
    offsets: NDArray[np.int64]
    flags: NDArray[np.uint8]
    """A bit for each beginning of a hash, set where a run has it: most of a text's runs end here, without a search."""
    shift: int

    def offsets_of(self, hashes: Hashes) -> list[tuple[int, int]]:
        """Place among the given hashes, and offset in the index's text, of those that are known."""
        beginnings = hashes >> np.uint64(self.shift)
        maybe = np.flatnonzero((self.flags[beginnings >> _BYTE_SHIFT] >> (beginnings & _BIT_MASK)) & _ONE)
        if not len(maybe):
            return []
        at = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self.hashes) - 1)
        known = self.hashes[at] == hashes[maybe]
        return list(zip(maybe[known].tolist(), self.offsets[at[known]].tolist(), strict=True))


class EvaluationIndex:
    """Runs of `ngram` words of evaluation texts. Hashes of words are those of this process: never stored."""

    def __init__(self, texts: Iterable[tuple[str, str]], ngram: int) -> None:
        """`texts` are pairs of a set's name and a text of it, set by set."""
        self._names: list[str] = []
        starts: list[int] = []
        buffer = bytearray()
        found: dict[int, list[tuple[Hashes, NDArray[np.int64]]]] = {}
        for name, text in texts:
            item = words(text)
            if len(item) < MIN_ITEM_WORDS:
                continue
            if not self._names or self._names[-1] != name:
                self._names.append(name)
                starts.append(len(buffer))
            length = min(len(item), ngram)
            hashes = gram_hashes(prefix_sums(item), length)
            sizes = np.fromiter((len(word.encode("utf-8", "surrogatepass")) + 1 for word in item), np.int64, len(item))
            offsets = len(buffer) + np.cumsum(sizes) - sizes
            found.setdefault(length, []).append((hashes, offsets[: len(hashes)]))
            buffer += " ".join(item).encode("utf-8", "surrogatepass") + b"\n"
        self._text = bytes(buffer)
        self._starts = np.array(starts, dtype=np.int64)
        self._runs = [_runs(length, found[length]) for length in sorted(found, reverse=True)]

    @property
    def run_count(self) -> int:
        """Distinct runs."""
        return sum(len(runs.hashes) for runs in self._runs)

    @property
    def byte_count(self) -> int:
        """Memory of the index in bytes."""
        arrays = sum(runs.hashes.nbytes + runs.offsets.nbytes + runs.flags.nbytes for runs in self._runs)
        return len(self._text) + arrays

    def find(self, text: str) -> Hit | None:
        """The first of the longest runs in common, as far as it goes on; None where there is none."""
        if not self._runs:
            return None
        asked = words(text)
        if len(asked) < MIN_ITEM_WORDS:
            return None
        sums = prefix_sums(asked)
        for runs in self._runs:
            for place, offset in runs.offsets_of(gram_hashes(sums, runs.length)):
                # Held against the text: a hash in common drops nothing.
                common = self._common_words(offset, asked, place)
                if common >= runs.length:
                    return Hit(self._names[int(np.searchsorted(self._starts, offset, "right")) - 1], place, common)
        return None

    def reject(self, _source: str, text: str) -> Rejection | None:
        """The screen that drops what holds a run of an evaluation set."""
        hit = self.find(text)
        if hit is None:
            return None
        shown = " ".join(span(text, hit.first_word, hit.word_count).split())[:MAX_SPAN_CHARS]
        return Rejection("decontamination", "contaminated", f"{hit.set_name}: {shown}")

    def _common_words(self, offset: int, asked: list[str], place: int) -> int:
        item = self._text[offset : self._text.index(b"\n", offset)].decode("utf-8", "surrogatepass").split(" ")
        count = 0
        for here, there in zip(item, asked[place : place + len(item)], strict=False):
            if here != there:
                break
            count += 1
        return count


def _runs(length: int, parts: list[tuple[Hashes, NDArray[np.int64]]]) -> _Runs:
    hashes, first = np.unique(np.concatenate([part[0] for part in parts]), return_index=True)
    offsets = np.concatenate([part[1] for part in parts])[first]
    bits = max(8, (8 * len(hashes) - 1).bit_length())
    flags = np.zeros(2**bits, dtype=bool)
    flags[hashes >> np.uint64(64 - bits)] = True
    return _Runs(length, hashes, offsets, np.packbits(flags, bitorder="little"), 64 - bits)
