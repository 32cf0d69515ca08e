"""Token sequences to windows of a model's context, and windows to batches of similar length.

In: which tokens are scored in which window, exactly once each. Out: the model (`language_model`) and the
figures (`perplexity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Window:
    """Tokens of one forward pass; the last `scored_count` of them are scored."""

    text_index: int
    token_ids: npt.NDArray[np.int64]
    scored_count: int


def windows(text_index: int, token_ids: npt.NDArray[np.int64], context_tokens: int) -> Iterator[Window]:
    """Cut a token sequence, whose first token is context only, into windows that start every half context.

    The first window scores all its tokens, each later one those that the one before did not reach: each token
    once, those of later windows with at least half a context before them. Fewer than two tokens give no
    window.
    """
    stride = context_tokens // 2
    scored_end = 1
    for start in range(0, len(token_ids), stride):
        if scored_end >= len(token_ids):
            return
        end = min(start + context_tokens, len(token_ids))
        yield Window(text_index, token_ids[start:end], end - scored_end)
        scored_end = end


def batches(items: Sequence[Window], max_batch_tokens: int) -> Iterator[list[Window]]:
    """Group windows of similar length, longest first; tokens and padding stay within `max_batch_tokens`.

    A window longer than that is a batch of its own.
    """
    batch: list[Window] = []
    for window in sorted(items, key=lambda item: -len(item.token_ids)):
        if batch and (len(batch) + 1) * len(batch[0].token_ids) > max_batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def padded(batch: Sequence[Window]) -> npt.NDArray[np.int64]:
    """Token ids of a batch, shape (windows, longest), padded with 0 on the right."""
    ids = np.zeros((len(batch), max(len(window.token_ids) for window in batch)), dtype=np.int64)
    for row, window in zip(ids, batch, strict=True):
        row[: len(window.token_ids)] = window.token_ids
    return ids


def scored_positions(batch: Sequence[Window]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column, in the padded batch, of every scored token."""
    ends = [len(window.token_ids) for window in batch]
    columns = [np.arange(end - window.scored_count, end) for end, window in zip(ends, batch, strict=True)]
    rows = np.repeat(np.arange(len(batch)), [window.scored_count for window in batch])
    return rows, np.concatenate(columns)
