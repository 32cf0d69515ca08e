"""Which bought answers the training data has nothing of, or less than was bought, and why: counted in the lake.

In: one pass over the ledger, beside the tables that rest on it. Out: dollars (`core.waste`), and the asset
(`waste`).

Each answer is of one kind at most, the first that fits:

- bought a second time: superseded; the earliest row of a key is the one that counts;
- behind a text that stays: `cut` if the model was cut off by its limit, else no waste;
- behind a text that is left out as a near-duplicate of another: dropped;
- the latest of a segment whose document was dropped after generation, or whose other segments make the text: dropped;
- of a document or strategy that is no longer there, or replaced by other answers: superseded.

Answers of a document that a strategy has neither a text nor a drop of are no waste: their table is still to be made.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project and checked names; values are parameters.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from resources.failed_calls import FAILURES
from resources.lake import Lake
from resources.lake_write import identifier, quoted
from resources.ledger import COMPLETIONS
from synth_assets.assets.judge_scores import JUDGE_NAME
from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, JUDGE_SCORES, MERGED_DOCUMENTS, TableSpec, rephrased
from synth_assets.core.token_prices import WORKED_ON
from synth_assets.core.waste import WastedCalls

BEFORE_GENERATION = "segmentation"
"""Stage of the drops of documents that nothing was asked for."""

_BEHIND_TEXTS = """
SELECT request_key, bool_and(left_out.merged_id IS NOT NULL) AS is_left_out
FROM (
    SELECT merged_id, unnest([segment.request_key FOR segment IN segments]) AS request_key
    FROM {merged} WHERE strategy = $1
) LEFT JOIN (SELECT DISTINCT merged_id FROM {near}) AS left_out USING (merged_id) GROUP BY 1
"""
_BEHIND_SCORES = "SELECT DISTINCT unnest(request_keys) AS request_key, false AS is_left_out FROM {judged}"

_KINDS = """
WITH behind AS ({behind}), dropped AS (
    SELECT document_id, min(reason) FILTER (stage <> $2) AS reason
    FROM {drops} WHERE strategy = $1 GROUP BY 1
), settled AS (
    SELECT document_id FROM {made} UNION SELECT document_id FROM dropped
), shortened AS (
    SELECT document_id, segment_count FROM {shortened} WHERE dropped_segment_count > 0
), candidates AS (
    SELECT DISTINCT document_id FROM {seed} WHERE is_candidate AND NOT is_duplicate
), answers AS (
    SELECT request_key, document_id, segment_index, model, finish_reason, prompt_tokens, cached_prompt_tokens,
        completion_tokens, created_at, row_number() OVER (PARTITION BY request_key ORDER BY created_at) AS purchase
    FROM {completions} WHERE strategy = $1
), placed AS (
    SELECT answers.*, is_left_out FROM answers LEFT JOIN behind USING (request_key)
), unused AS (
    SELECT *, row_number() OVER (
        PARTITION BY document_id, segment_index ORDER BY created_at DESC, request_key
    ) = 1 AS is_latest
    FROM placed WHERE purchase = 1 AND is_left_out IS NULL
), explained AS (
    SELECT model, 'superseded' AS kind, 'bought_twice' AS reason, prompt_tokens, cached_prompt_tokens,
        completion_tokens
    FROM placed WHERE purchase > 1
    UNION ALL
    SELECT model, CASE WHEN is_left_out THEN 'dropped' ELSE 'cut' END,
        CASE WHEN is_left_out THEN 'near_duplicate' ELSE finish_reason END,
        prompt_tokens, cached_prompt_tokens, completion_tokens
    FROM placed WHERE purchase = 1 AND (is_left_out OR (NOT is_left_out AND finish_reason = 'length'))
    UNION ALL
    SELECT model,
        CASE WHEN candidates.document_id IS NOT NULL AND is_latest
            AND (reason IS NOT NULL OR segment_index < segment_count) THEN 'dropped' ELSE 'superseded' END,
        CASE WHEN candidates.document_id IS NULL THEN 'document_gone'
            WHEN is_latest AND reason IS NOT NULL THEN reason
            WHEN is_latest AND segment_index < segment_count
                THEN CASE finish_reason WHEN 'length' THEN 'truncated' ELSE 'unusable_segment' END
            ELSE 'replaced' END,
        prompt_tokens, cached_prompt_tokens, completion_tokens
    FROM unused
    LEFT JOIN candidates USING (document_id)
    LEFT JOIN dropped USING (document_id)
    LEFT JOIN shortened USING (document_id)
    LEFT JOIN settled USING (document_id)
    WHERE candidates.document_id IS NULL OR settled.document_id IS NOT NULL
)
SELECT $1 AS strategy, model, kind, reason, {sums} FROM explained GROUP BY ALL
"""

_SUMS = """
count(*)::BIGINT AS requests, sum(prompt_tokens)::BIGINT AS prompt_tokens,
sum(cached_prompt_tokens)::BIGINT AS cached_prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens
"""

_GONE = f"""
SELECT strategy, model, 'superseded' AS kind, 'strategy_gone' AS reason, {_SUMS}
FROM {COMPLETIONS} WHERE NOT list_contains($1, strategy) GROUP BY ALL
"""

_FAILED = f"""
SELECT strategy, model, 'failed' AS kind, error_kind AS reason, count(*)::BIGINT AS requests,
    coalesce(sum(estimated_prompt_tokens) FILTER (list_contains($1, error_kind)), 0)::BIGINT AS prompt_tokens,
    0 AS cached_prompt_tokens, 0 AS completion_tokens
FROM {FAILURES} GROUP BY ALL
"""


def wasted_calls(lake: Lake, strategies: Sequence[str]) -> list[WastedCalls]:
    """What is waste now, sorted by strategy, model, kind and reason. `strategies` are those of this project.

    One strategy after the other, so that memory grows with the answers of the largest one.
    """
    found: list[dict[str, Any]] = []
    if lake.has_table(FAILURES):
        found += lake.query(_FAILED, [list(WORKED_ON)]).to_pylist()
    if lake.has_table(COMPLETIONS):
        found += lake.query(_GONE, [[*strategies, JUDGE_NAME]]).to_pylist()
        for name in (*strategies, JUDGE_NAME):
            found += _of_strategy(lake, name)
    calls = [WastedCalls(**row) for row in found]
    return sorted(calls, key=lambda each: (each.strategy, each.model, each.kind, each.reason))


def _of_strategy(lake: Lake, strategy: str) -> list[dict[str, Any]]:
    missing: dict[str, pa.Table] = {}
    names = {
        "merged": _table(lake, MERGED_DOCUMENTS, missing),
        "near": _table(lake, NEAR_DUPLICATES, missing),
        "judged": _table(lake, JUDGE_SCORES, missing),
    }
    is_judge = strategy == JUDGE_NAME
    made = names["judged"] if is_judge else f"(FROM {names['merged']} WHERE strategy = $1)"
    statement = _KINDS.format(
        behind=(_BEHIND_SCORES if is_judge else _BEHIND_TEXTS).format(**names),
        made=made,
        drops=_table(lake, DROPS, missing),
        shortened=_table(lake, rephrased(strategy), missing),
        seed=_table(lake, CURATED_DOCUMENTS, missing),
        completions=COMPLETIONS,
        sums=_SUMS,
    )
    return lake.query(statement, [strategy, BEFORE_GENERATION], missing).to_pylist()


def _table(lake: Lake, spec: TableSpec, missing: dict[str, pa.Table]) -> str:
    """The table's name; for one that is not there, or not yet with all its columns, that of an empty one."""
    if lake.has_table(spec.name):
        columns = lake.query(f"SELECT * FROM {quoted(spec.name)} LIMIT 0").schema.names
        if set(spec.schema.names) <= set(columns):
            return quoted(spec.name)
    name = f"missing_{spec.name.replace('.', '_')}"
    missing[name] = pa.Table.from_batches([], spec.schema)
    return identifier(name)
