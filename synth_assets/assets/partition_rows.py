"""The rows and drops of several partitions as one replacement, and what each of them came to.

In: streams of rows, drops and unanswered documents, one for each partition. Out: when they are written, and what
Dagster is told (`partition_runs`).

A transaction costs about the same for one row as for a thousand, some 60 ms. So small partitions share one.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake, Replacement
from resources.lake_errors import explained
from synth_assets.core.fingerprints import MultisetHash
from synth_assets.core.generation import RephrasedDocument, Unanswered
from synth_assets.core.request_planning import Drop
from synth_assets.core.tables import DROPS, TableSpec

PARTITION_COLUMN = "curator_file"
ROWS_PER_BATCH = 1024
ROWS_PER_TRANSACTION = 4096
PARTITIONS_PER_TRANSACTION = 16
EXAMPLE_CHARS = 280
DROP_BYTES_IN_MEMORY = 2**20

Item = Mapping[str, Any] | pa.RecordBatch | RephrasedDocument | Drop | Unanswered
"""What an asset's stream may yield: a row, many rows, a drop, or a document that has no answer yet."""


@dataclass
class PartitionResult:
    """What one partition came to while its stream was consumed."""

    version: MultisetHash = field(default_factory=lambda: MultisetHash())
    drops_by_reason: Counter[str] = field(default_factory=Counter)
    unanswered: list[Unanswered] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    row_count: int = 0
    example: str = ""

    def metadata(self) -> dict[str, Any]:
        """Row counts, token sums, drop reasons and an example, as the asset page shows them."""
        reasons = self.drops_by_reason
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
        drops = _DropSpool()

        def batches() -> Iterator[pa.RecordBatch]:
            for partition in partitions[: 1 if self.is_read_by_others else PARTITIONS_PER_TRANSACTION]:
                results[partition] = PartitionResult()
                written.append(partition)
                yield from _row_batches(self.spec, self.stream(partition), results[partition], drops)
                if sum(result.row_count for result in results.values()) >= ROWS_PER_TRANSACTION:
                    return

        rows = pa.RecordBatchReader.from_batches(self.spec.schema, batches())
        changes = [Replacement(self.spec.name, rows, {PARTITION_COLUMN: written})]
        if self.has_drops:
            dropped = pa.RecordBatchReader.from_batches(DROPS.schema, drops.batches())
            changes.append(
                Replacement(DROPS.name, dropped, {PARTITION_COLUMN: written, "strategy": self.drop_strategy})
            )
        self.lake.replace(changes)
        return results


class _DropSpool:
    """The drops of one transaction, on the disk where they are many: most of a corpus may be stubs and duplicates."""

    def __init__(self) -> None:
        # Never has a name once it is on the disk, so that nothing is left of it after `kill -9`.
        self._file = tempfile.SpooledTemporaryFile(DROP_BYTES_IN_MEMORY)  # noqa: SIM115 - read after this scope
        self._writer = pa.ipc.new_stream(self._file, DROPS.schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))
        self._waiting: list[dict[str, Any]] = []
        self._created_at = datetime.now(UTC)

    def add(self, drop: Drop) -> None:
        """Keep one drop. LakeError when the disk is full."""
        self._waiting.append({**vars(drop), "created_at": self._created_at})
        if len(self._waiting) >= ROWS_PER_BATCH:
            self._write()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All that was kept: known once the rows have been streamed to their end, which comes first."""
        self._write()
        self._writer.close()
        self._file.seek(0)
        with self._file:
            yield from pa.ipc.open_stream(self._file)

    def _write(self) -> None:
        with explained():
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting, schema=DROPS.schema))
        self._waiting = []


def _row_batches(
    spec: TableSpec, items: Iterable[Item], result: PartitionResult, drops: _DropSpool
) -> Iterator[pa.RecordBatch]:
    buffer: list[Mapping[str, Any]] = []
    for item in items:
        if isinstance(item, Drop):
            result.drops_by_reason[item.reason] += 1
            drops.add(item)
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
