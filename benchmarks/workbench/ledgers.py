"""Ledgers for the benchmarks, filled without a model: numbered answers, or canned ones to planned requests.

In: rows. Out: what is looked up in them, and how long that takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice

import duckdb

from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA, Ledger
from synth_assets.core.request_planning import PlannedRequest
from workbench.model_server import ANSWER

ROWS_PER_APPEND = 250_000
ANSWERS_PER_MOMENT = 32
MICROSECONDS_BETWEEN_MOMENTS = 320_000
"""100 answers a second, in batches as small as the ledger's writer commits."""


def numbered_key(number: int) -> str:
    """Request key of one numbered answer: 32 hex digits without order, as real ones are."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def fill_with_numbers(lake: Lake, answer_count: int) -> None:
    """Append answers 0 to `answer_count` - 1 to `ledger.completions`, each of 32 characters that do not compress."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for first in range(0, answer_count, ROWS_PER_APPEND):
            rows = connection.execute(
                """
                SELECT md5(i::VARCHAR) AS request_key, 'distill' AS strategy, md5('document' || i) AS document_id,
                0 AS segment_index, 'bench-model' AS model, '1' AS model_revision, 0 AS generation,
                600 AS prompt_tokens, 0 AS cached_prompt_tokens, 40 + i % 20 AS completion_tokens,
                620 AS estimated_prompt_tokens, 50 AS estimated_completion_tokens, 1.5 AS wall_seconds,
                'stop' AS finish_reason, md5('answer' || i) AS completion,
                TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_microseconds(i // $group * $step) AS created_at
                FROM range($first, $last) AS numbers(i)
                """,
                {
                    "first": first,
                    "last": min(first + ROWS_PER_APPEND, answer_count),
                    "group": ANSWERS_PER_MOMENT,
                    "step": MICROSECONDS_BETWEEN_MOMENTS,
                },
            ).to_arrow_table()
            lake.append(COMPLETIONS, rows.cast(COMPLETIONS_SCHEMA))


def buy_for_nothing(ledger: Ledger, requests: Iterable[PlannedRequest], model: ServedModel, chars: int) -> int:
    """Record so many characters of the model server's answer to each request, unasked; how many there were."""
    count = 0
    remaining = iter(requests)
    while part := list(islice(remaining, 4096)):
        ledger.record(
            [
                LedgerEntry(
                    Completion(planned.request.request_key, ANSWER[:chars], "stop", 600, chars // 4),
                    planned.strategy,
                    planned.document_id,
                    planned.segment_index,
                    model,
                    planned.estimated_prompt_tokens,
                    planned.estimated_completion_tokens,
                )
                for planned in part
            ]
        )
        count += len(part)
    return count
