"""How far estimates were off, by how much the ledger had seen when they were made.

In: the requests of each purchase as totals. Out: how they are counted (`synth_assets.assets.estimates`), and the
estimate itself (`synth_assets.core.request_planning`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

FIRST_BUCKETS = (0, 20, 100)
"""From 20 answers on, estimates rest on the ledger and no longer on published ratios."""

MOST_BUCKETS = 12
"""The last one begins at a hundred billion answers."""

BUCKETS = tuple(chain(FIRST_BUCKETS, (10**power for power in range(3, MOST_BUCKETS))))


@dataclass(frozen=True)
class PlannedTogether:
    """The requests of one strategy and model in one purchase: all were estimated from the same ledger."""

    strategy: str
    model: str
    requests: int
    estimated_prompt_tokens: int
    prompt_tokens: int
    estimated_completion_tokens: int
    completion_tokens: int


def estimate_rows(purchases: Iterable[PlannedTogether]) -> Iterator[dict[str, Any]]:
    """Rows of `reports.estimates`, from purchases sorted by strategy, model and time.

    A row takes in the purchases that began with as many answers as fall into one bucket: 0 to 19, 20 to 99, 100 to 999
    and so on by factors of ten.
    """
    row: dict[str, Any] = {}
    answers = bucket = 0
    for bought in purchases:
        if (row.get("strategy"), row.get("model")) != (bought.strategy, bought.model):
            answers, bucket = 0, -1
        if (found := bisect_right(BUCKETS, answers)) != bucket:
            if row:
                yield _with_error(row)
            bucket = found
            row = {"strategy": bought.strategy, "model": bought.model, "answers_before": answers}
        for name, value in vars(bought).items():
            if isinstance(value, int):
                row[name] = row.get(name, 0) + value
        answers += bought.requests
    if row:
        yield _with_error(row)


def _with_error(row: dict[str, Any]) -> dict[str, Any]:
    actual = row["completion_tokens"]
    error = (row["estimated_completion_tokens"] - actual) / actual if actual else None
    return {**row, "relative_error": error}
