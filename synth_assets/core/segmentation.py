"""Cuts a document into segments that fit a token budget.

In: `segment` and the packing behind it. Out: what the budget is (a strategy's limits minus its prompt), and
how answers are joined again. Nothing of the text is lost or repeated: only the whitespace between two
segments is outside of them, and the offsets tell where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from resources.inference import Tokenizer
from synth_assets.core.splitting import Span, lines, paragraphs, sentences, trimmed, words

_MAX_CHARS_PER_TOKEN = 16
"""A segment has at most this many characters for each token of its budget (English prose has 4 to 5). So no
longer text is ever tokenized in one piece: a 10 MB line would cost hundreds of MB of memory there."""

_RECUTS = 3
"""How many sentence ends are tried as the new border between a short segment and the one before it."""


@dataclass(frozen=True)
class Segment:
    """One piece of a source text: `text == source[start:end]`, without whitespace at its ends."""

    index: int
    start: int
    end: int
    text: str
    token_count: int


class _Piece(NamedTuple):
    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class _Budget:
    """One text, its tokenizer and the most tokens of a segment."""

    text: str
    tokenizer: Tokenizer
    max_tokens: int

    def has_room(self, start: int, end: int) -> bool:
        return end - start <= _MAX_CHARS_PER_TOKEN * self.max_tokens

    def is_over(self, piece: _Piece) -> bool:
        return piece.tokens > self.max_tokens and piece.end - piece.start > 1

    def count(self, spans: Sequence[Span]) -> list[_Piece]:
        """Count in one call. What has too many characters is not counted: an estimate says it is over."""
        texts = [self.text[start:end] for start, end in spans if self.has_room(start, end)]
        counted = iter(self.tokenizer.count_tokens(texts) if texts else ())
        return [_Piece(a, b, next(counted) if self.has_room(a, b) else (b - a) // 4) for a, b in spans]


def countable_whole(text: str, max_tokens: int) -> str | None:
    """What `segment` counts first: the text without whitespace at its ends; None where it is empty or too long."""
    whole = text.strip()
    return whole if 0 < len(whole) <= _MAX_CHARS_PER_TOKEN * max_tokens else None


def segment(
    text: str, tokenizer: Tokenizer, max_tokens: int, min_tokens: int, whole_tokens: int | None = None
) -> tuple[Segment, ...]:
    """Cut `text` into segments of at most `max_tokens` tokens, in order; () when it is empty or whitespace.

    Paragraphs are packed greedily. One over the budget is split at its lines, then its sentences, then its
    words, then its characters; only a single character of more than `max_tokens` tokens exceeds the budget. A
    segment shorter than `min_tokens` joins its neighbour, or takes sentences from the one before it, where
    both then keep to budget and minimum. `whole_tokens` is the count of `countable_whole(text, …)`, where it is
    known already. Raises ValueError when `max_tokens` is not positive.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be positive, not {max_tokens}")
    span = trimmed(text, 0, len(text))
    if span is None:
        return ()
    budget = _Budget(text, tokenizer, max_tokens)
    if whole_tokens is not None and budget.has_room(*span):
        whole = _Piece(*span, whole_tokens)
    else:
        [whole] = budget.count([span])
    pieces = [whole]
    if whole.tokens > max_tokens:
        packed = _pack(_split_to_budget(whole, budget), max_tokens, budget)
        pieces = _relieve_short(packed, min_tokens, budget)
    return tuple(Segment(index, a, b, text[a:b], tokens) for index, (a, b, tokens) in enumerate(pieces))


def _split_to_budget(whole: _Piece, budget: _Budget) -> list[_Piece]:
    """Pieces that each fit the budget, split no finer than that takes."""

    def split_words(text: str, piece: _Piece) -> list[Span]:
        # A quarter of the budget packs well, and each round makes what is over at least 4 times shorter.
        size = (piece.end - piece.start) * budget.max_tokens // (4 * piece.tokens)
        return words(text, piece[:2], max(1, size))

    pieces = [whole]
    for split in (paragraphs, lines, sentences):
        pieces = _split_over(pieces, lambda text, piece, split=split: split(text, piece[:2]), budget)
    while any(budget.is_over(piece) for piece in pieces):
        pieces = _split_over(pieces, split_words, budget)
    return pieces


def _split_over(pieces: list[_Piece], split: Callable[[str, _Piece], list[Span]], budget: _Budget) -> list[_Piece]:
    """Replace each piece over the budget by its split; all that is new is counted in one call."""
    splits = [split(budget.text, piece) if budget.is_over(piece) else [piece[:2]] for piece in pieces]
    counted = iter(budget.count([span for spans in splits if len(spans) > 1 for span in spans]))
    result: list[_Piece] = []
    for piece, spans in zip(pieces, splits, strict=True):
        result.extend([piece] if len(spans) == 1 else (next(counted) for _ in spans))
    return result


def _pack(pieces: Sequence[_Piece], limit: int, budget: _Budget) -> list[_Piece]:
    """Join neighbours greedily up to an estimated `limit`, then count what was joined, in one call.

    Counts of pieces do not simply add up: a group that turns out over the budget is packed again with a limit
    that is smaller in the same ratio.
    """
    groups: list[list[_Piece]] = []
    total = 0
    for piece in pieces:
        cost = piece.tokens + (_gap_tokens(budget.text[groups[-1][-1].end : piece.start]) if groups else 0)
        if groups and total + cost <= limit and budget.has_room(groups[-1][0].start, piece.end):
            groups[-1].append(piece)
            total += cost
        else:
            groups.append([piece])
            total = piece.tokens
    joined = iter(budget.count([(group[0].start, group[-1].end) for group in groups if len(group) > 1]))
    packed: list[_Piece] = []
    for group in groups:
        candidate = group[0] if len(group) == 1 else next(joined)
        if len(group) == 1 or candidate.tokens <= budget.max_tokens:
            packed.append(candidate)
        else:
            estimate = sum(piece.tokens for piece in group)
            smaller = min(estimate - 1, estimate * budget.max_tokens // candidate.tokens)
            packed.extend(_pack(group, smaller, budget))
    return packed


def _gap_tokens(gap: str) -> int:
    """An estimate: byte-pair vocabularies take a lone space into the next word, line breaks are 1 or 2."""
    return 0 if gap == " " else min(len(gap), 2)


def _relieve_short(pieces: list[_Piece], min_tokens: int, budget: _Budget) -> list[_Piece]:
    """Replace a short piece and a neighbour by one, or by two with the border between them moved back."""
    candidates = [
        (first, spans)
        for index, piece in enumerate(pieces)
        if piece.tokens < min_tokens
        for first, spans in _recuts(pieces, index, budget.text)
    ]
    counted = iter(budget.count([span for _, spans in candidates for span in spans]))
    replaced: dict[int, list[_Piece]] = {}
    for first, spans in candidates:
        new = [next(counted) for _ in spans]
        is_free = replaced.keys().isdisjoint({first - 1, first, first + 1})
        if is_free and all(min_tokens <= piece.tokens <= budget.max_tokens for piece in new):
            replaced[first] = new
    result: list[_Piece] = []
    for index, piece in enumerate(pieces):
        if index - 1 not in replaced:
            result.extend(replaced.get(index, [piece]))
    return result


def _recuts(pieces: list[_Piece], short: int, text: str) -> list[tuple[int, list[Span]]]:
    """What could stand in place of pieces `first` and `first + 1`, of which one is short; best first."""
    firsts = [first for first in (short - 1, short) if 0 <= first < len(pieces) - 1]
    options = [(first, [(pieces[first].start, pieces[first + 1].end)]) for first in firsts]
    if short > 0:
        before, tail = pieces[short - 1], pieces[short]
        for cut, _ in reversed(sentences(text, before[:2])[1:][-_RECUTS:]):
            kept = trimmed(text, before.start, cut)
            options += [(short - 1, [kept, (cut, tail.end)])] if kept else []
    return options
