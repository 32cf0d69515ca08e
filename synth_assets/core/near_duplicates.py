"""Texts that are nearly the same: a MinHash signature of each, how alike two are, and which copy stays.

In: arithmetic on signatures (Broder 1997, "On the resemblance and containment of documents"). Out: what of a text
counts (`shingles`), and finding the pairs to look at (`synth_assets.assets.signature_pairs`).

Texts of the same band are looked at. With 18 bands of 7 values each, a pair is looked at with a probability of
1 - (1 - s^7)^18: 0.13 at a similarity s of 0.5, 0.40 at 0.6, 0.79 at 0.7, 0.986 at 0.8, 0.9999 at 0.9. What is looked
at is dropped from an estimated similarity of 0.8 on; its standard error at 0.8 is 0.035 (128 values).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.shingles import shingles
from synth_assets.core.words import words

PERMUTATIONS = 128
BANDS = 18
VALUES_PER_BAND = 7
"""18 bands of 7 take 126 of the 128 values; 16 of 8 would miss 5% of the pairs at the threshold instead of 1.4%."""
MIN_SIMILARITY = 0.8
"""Share of shingles in common; the threshold of FineWeb and RefinedWeb lies between 0.75 and 0.8."""

_SEED = 1
_PAIRS_AT_ONCE = 8192
_RULES = f"{PERMUTATIONS}/{BANDS}/{VALUES_PER_BAND}/{MIN_SIMILARITY}".encode()


@dataclass(frozen=True)
class Signature:
    """What a text is compared by. Equal `signature_id`: the same text, as far as can be seen."""

    signature_id: str
    """32 hex digits of the values and of the rules of comparison; of the words, where the text is too short."""
    shingle_count: int
    """0 where a text is too short to be compared but as a whole."""
    values: bytes
    """128 uint32, little-endian; empty for a short text."""
    bands: tuple[int, ...]
    """18 keys; empty for a short text."""


def sign(texts: Sequence[str]) -> list[Signature]:
    """The signature of each text."""
    # Loaded here, since planning needs no sketches.
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

    sets = [shingles(text) for text in texts]
    sketched = [sorted(found) for found in sets if found]
    matrix = RMinHash.digest_matrix_from_token_sets(sketched, num_perm=PERMUTATIONS, seed=_SEED) if sketched else None
    rows = iter(np.array(matrix.to_rows() if matrix else [], dtype="<u4"))
    return [
        _long(len(found), next(rows).tobytes()) if found else _short(text)
        for text, found in zip(texts, sets, strict=True)
    ]


def _long(shingle_count: int, values: bytes) -> Signature:
    width = 4 * VALUES_PER_BAND
    keys = (
        hashlib.blake2b(values[place * width : (place + 1) * width], digest_size=8, salt=place.to_bytes(2, "little"))
        for place in range(BANDS)
    )
    bands = tuple(int.from_bytes(key.digest(), "little", signed=True) for key in keys)
    return Signature(_digest(b"values", values), shingle_count, values, bands)


def _short(text: str) -> Signature:
    return Signature(_digest(b"words", " ".join(words(text)).encode("utf-8", "surrogatepass")), 0, b"", ())


def _digest(kind: bytes, content: bytes) -> str:
    return hashlib.blake2b(_RULES + content, digest_size=16, person=kind).hexdigest()


def matrix_of(values: Sequence[bytes]) -> NDArray[np.uint32]:
    """Signatures of long texts as one row each, shape (texts, 128)."""
    return np.frombuffer(b"".join(values), dtype="<u4").reshape(len(values), PERMUTATIONS)


def similarities(
    first: NDArray[np.uint32], second: NDArray[np.uint32], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Estimated share of common shingles; each row of `pairs` (pairs, 2) is a row of `first` and one of `second`."""
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        left, right = pairs[start : start + _PAIRS_AT_ONCE].T
        found[start : start + _PAIRS_AT_ONCE] = (first[left] == second[right]).mean(axis=1)
    return found


@dataclass(frozen=True)
class SignedDocument:
    """One merged document with its signature's id."""

    merged_id: str
    document_id: str
    curator_file: str
    strategy: str
    signature_id: str


@dataclass(frozen=True)
class NearDuplicate:
    """A document that is left out, the one that is kept for it, and how alike the two are."""

    document: SignedDocument
    kept: SignedDocument
    similarity: float


def precedence(document: SignedDocument) -> tuple[bool, str, str, str]:
    """The order in which documents are kept: originals, then strategies by name; in each by document id."""
    return document.strategy != ORIGINAL, document.strategy, document.document_id, document.curator_file


def near_duplicates(
    documents: Iterable[SignedDocument], similar: Mapping[str, Sequence[tuple[str, float]]]
) -> Iterator[NearDuplicate]:
    """Those that are alike to one that is kept. `documents` come by `precedence`.

    `similar` has, for a signature's id, the ids alike to it with the similarity. Each is dropped for the one it is most
    alike to; of several, for the one that comes first.
    """
    kept: dict[str, tuple[int, SignedDocument]] = {}
    for place, document in enumerate(documents):
        alike = [(document.signature_id, 1.0), *similar.get(document.signature_id, ())]
        found = [(-similarity, *kept[other]) for other, similarity in alike if other in kept]
        if found:
            similarity, _, best = min(found, key=lambda item: item[:2])
            yield NearDuplicate(document, best, -similarity)
        else:
            kept[document.signature_id] = (place, document)
