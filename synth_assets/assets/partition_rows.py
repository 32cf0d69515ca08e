"""The rows and drops of several partitions as one replacement, and what each of them came to.

In: streams of rows, drops and unanswered documents, one for each partition. Out: when they are written, and what
Dagster is told (`partition_runs`).

A transaction costs about the same for one row as for a thousand, some 60 ms. So small partitions share one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake, Replacement
from synth_assets.core.fingerprints import MultisetHash
from synth_assets.core.generation import RephrasedDocument, Unanswered
from synth_assets.core.request_planning import Drop
from synth_assets.core.tables import DROPS, TableSpec

PARTITION_COLUMN = "curator_file"
ROWS_PER_BATCH = 1024
ROWS_PER_TRANSACTION = 4096
PARTITIONS_PER_TRANSACTION = 16
EXAMPLE_CHARS = 280

Item = Mapping[str, Any] | pa.RecordBatch | RephrasedDocument | Drop | Unanswered
"""What an asset's stream may yield: a row, many rows, a drop, or a document that has no answer yet."""


@dataclass
class PartitionResult:
    """What one partition came to while its stream was consumed."""

    version: MultisetHash = field(default_factory=lambda: MultisetHash())
    drops: list[Drop] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    row_count: int = 0
    example: str = ""

    def metadata(self) -> dict[str, Any]:
        """Row counts, token sums, drop reasons and an example, as the asset page shows them."""
        reasons = Counter(drop.reason for drop in self.drops)
        shown: dict[str, Any] = {
            "dagster/partition_row_count": self.row_count,
            "drops": sum(reasons.values()),
        }
        shown.update({name: int(total) for name, total in sorted(self.sums.items())})
        if reasons:
            shown["drops by reason"] = dg.MetadataValue.json(dict(reasons))
        if self.example:
            shown["example"] = self.example
        return shown


@dataclass(frozen=True)
class PartitionTable:
    """One table of a partitioned asset, with the stream of each partition.

    With `has_drops` the drops of `drop_strategy` (None: those of no strategy) are replaced along with the rows.
    """

    lake: Lake
    spec: TableSpec
    stream: Callable[[str], Iterable[Item]]
    drop_strategy: str | None = None
    has_drops: bool = False
    is_read_by_others: bool = False
    """True where the stream of one partition reads what was made of another: each has a transaction of its own."""

    def replace_next(self, partitions: Sequence[str]) -> dict[str, PartitionResult]:
        """Replace the rows and drops of the first of these partitions, as many as belong into one transaction.

        Raises what a stream raises; then nothing is replaced.
        """
        results: dict[str, PartitionResult] = {}
        # Filled while the rows are streamed, and looked at after that.
        written: list[str] = []

        def batches() -> Iterator[pa.RecordBatch]:
            for partition in partitions[: 1 if self.is_read_by_others else PARTITIONS_PER_TRANSACTION]:
                results[partition] = PartitionResult()
                written.append(partition)
                yield from _row_batches(self.spec, self.stream(partition), results[partition])
                if sum(result.row_count for result in results.values()) >= ROWS_PER_TRANSACTION:
                    return

        rows = pa.RecordBatchReader.from_batches(self.spec.schema, batches())
        changes = [Replacement(self.spec.name, rows, {PARTITION_COLUMN: written})]
        if self.has_drops:
            drops = pa.RecordBatchReader.from_batches(DROPS.schema, _drop_batches(results))
            changes.append(Replacement(DROPS.name, drops, {PARTITION_COLUMN: written, "strategy": self.drop_strategy}))
        self.lake.replace(changes)
        return results


def _row_batches(spec: TableSpec, items: Iterable[Item], result: PartitionResult) -> Iterator[pa.RecordBatch]:
    buffer: list[Mapping[str, Any]] = []
    for item in items:
        if isinstance(item, Drop):
            result.drops.append(item)
        elif isinstance(item, Unanswered):
            result.unanswered.append(item)
        elif isinstance(item, pa.RecordBatch):
            yield _counted(item, spec, result)
        else:
            buffer.append(item.row if isinstance(item, RephrasedDocument) else item)
        if len(buffer) >= ROWS_PER_BATCH:
            yield _counted(pa.RecordBatch.from_pylist(buffer, schema=spec.schema), spec, result)
            buffer = []
    if buffer:
        yield _counted(pa.RecordBatch.from_pylist(buffer, schema=spec.schema), spec, result)


def _counted(batch: pa.RecordBatch, spec: TableSpec, result: PartitionResult) -> pa.RecordBatch:
    result.version.add_table(batch, spec.version_columns)
    result.row_count += batch.num_rows
    for name in ("token_count", "char_count", "prompt_tokens", "completion_tokens"):
        if name in spec.schema.names:
            result.sums[name] += sum(value or 0 for value in batch.column(name).to_pylist())
    if not result.example and batch.num_rows and "text" in spec.schema.names:
        result.example = str(batch.column("text")[0].as_py() or "")[:EXAMPLE_CHARS]
    return batch


def _drop_batches(results: Mapping[str, PartitionResult]) -> Iterator[pa.RecordBatch]:
    """Known once the rows have been streamed to their end, which comes first."""
    now = datetime.now(UTC)
    drops = [drop for result in results.values() for drop in result.drops]
    for start in range(0, len(drops), ROWS_PER_BATCH):
        rows = [{**vars(drop), "created_at": now} for drop in drops[start : start + ROWS_PER_BATCH]]
        yield pa.RecordBatch.from_pylist(rows, schema=DROPS.schema)
