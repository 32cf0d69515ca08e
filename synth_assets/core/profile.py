"""The profile of a corpus: how many documents, how long, in which categories, how many candidates.

In: counting and the statistics of length, for one file or many. Out: reading documents and judging them, and
how a profile is shown. Memory holds 16 bytes a document and each distinct category once, never a text.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CorpusProfile:
    """Counts, and lengths in characters; None where there are no documents (deviation: fewer than two)."""

    document_count: int
    candidate_count: int
    duplicate_count: int
    duplicate_source_id_count: int
    """Documents whose source id an earlier one with other content has, too."""
    char_count: int
    token_count: int
    mean_chars: float | None
    median_chars: float | None
    min_chars: int | None
    max_chars: int | None
    std_chars: float | None
    """Sample standard deviation (divided by n - 1)."""
    category_counts: tuple[tuple[str, int], ...]
    """Documents of each category, most frequent first, then by name."""
    rejection_counts: tuple[tuple[str, int], ...]
    """Documents of each rejection reason, most frequent first, then by name."""

    def top_categories(self, count: int) -> tuple[tuple[str, int], ...]:
        """The most frequent categories with their number of documents."""
        return self.category_counts[:count]

    def as_row(self, curator_file: str | None) -> dict[str, Any]:
        """The row of `seed.profile` for one file, or (None) for all of them."""
        return {
            "curator_file": curator_file,
            "document_count": self.document_count,
            "candidate_count": self.candidate_count,
            "duplicate_count": self.duplicate_count,
            "mean_chars": self.mean_chars,
            "median_chars": self.median_chars,
            "min_chars": self.min_chars,
            "max_chars": self.max_chars,
            "std_chars": self.std_chars,
            "char_count": self.char_count,
            "token_count": self.token_count,
            "categories": [{"category": category, "document_count": count} for category, count in self.category_counts],
        }


class ProfileAccumulator:
    """Takes documents one by one, or the accumulators of several files, in any order."""

    def __init__(self) -> None:
        self._lengths = array("q")
        self._source_ids = array("Q")
        self._token_count = 0
        self._candidate_count = 0
        self._duplicate_count = 0
        self._categories: Counter[str] = Counter()
        self._rejections: Counter[str] = Counter()

    def add(
        self,
        *,
        char_count: int,
        token_count: int,
        is_duplicate: bool,
        is_candidate: bool,
        rejection_reason: str | None = None,
        categories: Iterable[str] = (),
        source_id: str | None = None,
    ) -> None:
        """Add one document. Its categories count once each, however often they are named."""
        self._lengths.append(char_count)
        self._token_count += token_count
        self._candidate_count += is_candidate
        self._duplicate_count += is_duplicate
        self._categories.update(set(categories))
        if rejection_reason is not None:
            self._rejections[rejection_reason] += 1
        if source_id is not None and not is_duplicate:
            digest = hashlib.blake2b(source_id.encode(), digest_size=8).digest()
            self._source_ids.append(int.from_bytes(digest, "little"))

    def update(self, other: ProfileAccumulator) -> None:
        """Add every document that the other has seen."""
        self._lengths.extend(other._lengths)
        self._source_ids.extend(other._source_ids)
        self._token_count += other._token_count
        self._candidate_count += other._candidate_count
        self._duplicate_count += other._duplicate_count
        self._categories.update(other._categories)
        self._rejections.update(other._rejections)

    def profile(self) -> CorpusProfile:
        """The profile of what has been added so far."""
        lengths = sorted(self._lengths)
        count, total = len(lengths), sum(lengths)
        return CorpusProfile(
            document_count=count,
            candidate_count=self._candidate_count,
            duplicate_count=self._duplicate_count,
            duplicate_source_id_count=len(self._source_ids) - len(set(self._source_ids)),
            char_count=total,
            token_count=self._token_count,
            mean_chars=total / count if count else None,
            median_chars=(lengths[(count - 1) // 2] + lengths[count // 2]) / 2 if count else None,
            min_chars=lengths[0] if count else None,
            max_chars=lengths[-1] if count else None,
            std_chars=_sample_deviation(lengths, total),
            category_counts=_by_frequency(self._categories),
            rejection_counts=_by_frequency(self._rejections),
        )


def profile(rows: Iterable[Mapping[str, Any]]) -> CorpusProfile:
    """The profile of rows of `seed.curated_documents`; other columns than the accumulator's are ignored."""
    accumulator = ProfileAccumulator()
    for row in rows:
        accumulator.add(
            char_count=row["char_count"],
            token_count=row["token_count"],
            is_duplicate=row["is_duplicate"],
            is_candidate=row["is_candidate"],
            rejection_reason=row["rejection_reason"],
            categories=row["categories"] or (),
            source_id=row["source_id"],
        )
    return accumulator.profile()


def _sample_deviation(lengths: list[int], total: int) -> float | None:
    """In whole numbers up to the root, so that the order in which documents came cannot change a digit."""
    count = len(lengths)
    if count < 2:
        return None
    squares = sum(length * length for length in lengths)
    return math.sqrt((count * squares - total * total) / (count * (count - 1)))


def _by_frequency(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
