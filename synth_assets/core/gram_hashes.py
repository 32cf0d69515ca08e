"""A 64-bit hash of every run of n words of a text, for any n at the price of three array operations.

In: the arithmetic. Out: what a word is, and what runs are looked for (`decontamination`, `measures.words`).

The hash of a run is the sum of hash(word j) · base^j over its words, divided by the base's power at its beginning: the
same wherever the run stands. All of it is modulo 2^64. Hashes of words are Python's own, differ between processes and
are never stored. Two different runs have the same hash with a probability of about 2^-64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it can be divided by modulo 2^64."""
_INVERSE = pow(_BASE, -1, 2**64)


def prefix_sums(words: Sequence[str]) -> Hashes:
    """Shape (words + 1,): at i the sum over all words before the i-th. Two of them give the hash of any run."""
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    sums = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(hashes * _powers(_BASE, len(words)), out=sums[1:])
    return sums


def gram_hashes(sums: Hashes, n: int) -> Hashes:
    """The hash of each run of n words, in the order of the text; shape (words - n + 1,), or empty."""
    count = len(sums) - n
    if count < 1:
        return np.zeros(0, np.uint64)
    return (sums[n:] - sums[:-n]) * _powers(_INVERSE, count)


def _powers(base: int, count: int) -> Hashes:
    return _many_powers(base, 1 << max(count, 256).bit_length())[:count]


@lru_cache(maxsize=32)
def _many_powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
