"""Text as a byte-level model reads it: bytes as numbers, and windows to learn from.

In: packing, and drawing windows. Out: the model (`proxy_model`), and where the text comes from
(`assets.experiments`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

END_OF_TEXT = 256
"""The one number besides the 256 bytes; it stands before each document, and after the last one."""
VOCABULARY_SIZE = 257

Ids = npt.NDArray[np.int16]


def encoded(text: str) -> Ids:
    """The UTF-8 bytes of a text; what UTF-8 cannot hold is replaced by a question mark."""
    return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int16)


def packed(texts: Iterable[str], max_bytes: int) -> Ids:
    """Documents one after the other, each behind END_OF_TEXT; no more is read than `max_bytes` hold.

    The last document is cut at `max_bytes`. Empty where there is no text.
    """
    end = np.array([END_OF_TEXT], dtype=np.int16)
    parts, size = [], 0
    for text in texts:
        ids = encoded(text)[: max_bytes - size]
        if ids.size:
            parts += [end, ids]
            size += ids.size
        if size >= max_bytes:
            break
    return np.concatenate([*parts, end]) if parts else np.empty(0, dtype=np.int16)


def byte_count(ids: Ids) -> int:
    """Bytes among the ids: all but the END_OF_TEXT marks."""
    return int(np.count_nonzero(ids != END_OF_TEXT))


def windows(ids: Ids, count: int, context_bytes: int, seed: int) -> Iterator[Ids]:
    """`count` windows of `context_bytes` + 1 ids: inputs and, one further, targets.

    Each pass over the text begins at another offset and takes its windows, which touch but do not overlap, in another
    order. A text that is shorter than a window is repeated until it fills one. ValueError without ids.
    """
    if not ids.size:
        raise ValueError("no text to draw windows from")
    size = context_bytes + 1
    if ids.size < size + context_bytes:
        # So that every offset leaves room for one window.
        ids = np.resize(ids, size + context_bytes)
    rng = np.random.default_rng(seed)

    def endless() -> Iterator[Ids]:
        while True:
            offset = int(rng.integers(context_bytes))
            starts = np.arange(offset, ids.size - context_bytes, context_bytes)
            for start in rng.permutation(starts):
                yield ids[start : start + size]

    return itertools.islice(endless(), count)
