"""Calls that brought no answer, kept for the bill: `ledger.failures`. Rows are only ever added.

In: the table and adding to it. Out: what a failed call costs (`synth_assets.core.waste`), and answers (`ledger`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from resources.inference import FailedRequest
from resources.lake import Lake

FAILURES = "ledger.failures"

FAILURES_SCHEMA = pa.schema(
    {
        "request_key": pa.string(),
        "strategy": pa.string(),
        "document_id": pa.string(),
        "segment_index": pa.int64(),
        "model": pa.string(),
        "error_kind": pa.string(),
        "detail": pa.string(),
        "estimated_prompt_tokens": pa.int64(),
        "created_at": pa.timestamp("us", tz="UTC"),
    }
)
"""One request that was given up. The server's own count of its prompt never came: the planned one stands for it."""

_ROWS_PER_BATCH = 4096


def record_failures(lake: Lake, failures: Sequence[FailedRequest]) -> None:
    """Add the failures of one purchase in one transaction; nothing happens for none. Raises LakeError."""
    if not failures:
        return
    created_at = datetime.now(UTC)
    batches = (
        pa.RecordBatch.from_pylist(
            [_row(failure, created_at) for failure in failures[start : start + _ROWS_PER_BATCH]], FAILURES_SCHEMA
        )
        for start in range(0, len(failures), _ROWS_PER_BATCH)
    )
    lake.append(FAILURES, pa.RecordBatchReader.from_batches(FAILURES_SCHEMA, batches))
    lake.merge_small_files(FAILURES)


def _row(failure: FailedRequest, created_at: datetime) -> dict[str, object]:
    return {
        "request_key": failure.completion.request_key,
        "strategy": failure.strategy,
        "document_id": failure.document_id,
        "segment_index": failure.segment_index,
        "model": failure.model.name,
        "error_kind": failure.completion.error_kind,
        "detail": failure.completion.error,
        "estimated_prompt_tokens": failure.estimated_prompt_tokens,
        "created_at": created_at,
    }
