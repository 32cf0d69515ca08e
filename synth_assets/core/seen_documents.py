"""Which documents of a long file have come before: exact, in 16 bytes a document.

In: digests, a chunk at a time. Out: duplicates in other files (`synth_assets.assets.seed`).

A Python set of such digests takes about 100 bytes each, which is the most that grows with a file's length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16

_Words = NDArray[np.uint64]


class SeenDocuments:
    """Digests of 16 bytes, kept in sorted arrays of which each is at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[_Words] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, digests: Sequence[bytes]) -> list[bool]:
        """For each digest in turn, whether it came before, in an earlier call or earlier in this one."""
        if not digests:
            return []
        distinct = list(dict.fromkeys(digests))
        words = np.frombuffer(b"".join(distinct), dtype=np.uint64).reshape(len(distinct), 2)
        is_old = np.zeros(len(distinct), dtype=bool)
        for run in self._runs:
            is_old |= _is_in(run, words)
        self._keep(words[~is_old])
        # Of those in this call alone, the first one is new.
        still_new = {digest for digest, old in zip(distinct, is_old.tolist(), strict=True) if not old}
        is_seen = []
        for digest in digests:
            is_seen.append(digest not in still_new)
            still_new.discard(digest)
        return is_seen

    def _keep(self, new: _Words) -> None:
        self._runs.append(_sorted(new))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [_sorted(np.concatenate(self._runs[-2:]))]


def _sorted(words: _Words) -> _Words:
    """By the first eight bytes; the order of those that share them does not matter."""
    return words[np.argsort(words[:, 0], kind="stable")]


def _is_in(run: _Words, wanted: _Words) -> NDArray[np.bool_]:
    """Whether each of the wanted is in a sorted run. Those that share eight bytes are compared one by one."""
    starts = np.searchsorted(run[:, 0], wanted[:, 0], side="left")
    ends = np.searchsorted(run[:, 0], wanted[:, 0], side="right")
    found = np.zeros(len(wanted), dtype=bool)
    for place in np.flatnonzero(starts < ends):
        found[place] = bool((run[starts[place] : ends[place], 1] == wanted[place, 1]).any())
    return found
