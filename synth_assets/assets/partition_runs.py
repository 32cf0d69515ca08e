"""How a partitioned asset materializes any number of partitions in one run, each with a data version of its own.

In: streams of rows, drops and unanswered documents, one for each partition. Out: what those rows are.

Dagster gives every partition of a range run one and the same data version (dagster #34013). So a range run logs, after
the output that its downstream steps wait for, one materialization for each partition with that partition's versions.
A partition that fails does not stop the others: they are kept and logged. Then the step fails and names the failed,
unless the run goes on below this asset: Dagster would skip that for every file. In such a run a failed partition gets a
materialization that is marked as failed, what rests on it is marked alike, and the run is failed by the check
`every_partition_was_made` (`checks`), which is a step that nothing waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.duckdb_io_manager import TableUpdate
from resources.errors import SynthError
from resources.inference import Completion
from resources.lake import Lake, Replacement
from synth_assets.assets.dead_runs import mark_run
from synth_assets.assets.keys import table_key
from synth_assets.assets.obstacles import obstacles
from synth_assets.assets.versions import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    FAILED_TAG,
    UPSTREAM_TAG,
    RootVersions,
    Versions,
)
from synth_assets.core.fingerprints import MultisetHash
from synth_assets.core.generation import RephrasedDocument, Unanswered
from synth_assets.core.request_planning import Drop
from synth_assets.core.tables import DROPS, TableSpec

ROWS_PER_BATCH = 1024
PARTITION_COLUMN = "curator_file"
EXAMPLE_CHARS = 280

Item = Mapping[str, Any] | pa.RecordBatch | RephrasedDocument | Drop | Unanswered
"""What an asset's stream may yield: a row, many rows, a drop, or a document that has no answer yet."""


Event = dg.MaterializeResult | dg.AssetMaterialization | dg.AssetObservation


@dataclass
class PartitionResult:
    """What one partition came to while its stream was consumed."""

    version: MultisetHash
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


def materialize_partitions(
    context: dg.AssetExecutionContext,
    spec: TableSpec,
    lake: Lake,
    roots: RootVersions,
    stream: Callable[[str], Iterable[Item]],
    drop_strategy: str | None = None,
    has_drops: bool = False,
    failures: Mapping[str, Completion] | None = None,
) -> Iterator[Event]:
    """Materialize each partition of the run from `stream(partition)`, replacing its rows and drops in one transaction.

    `failures` are the requests that failed in this run, to name the cause of documents without an answer.
    With several partitions, each is written by itself and followed, at the end, by a materialization of its own.
    """
    mark_run(context.instance, context.run)
    graph = context.job_def.asset_layer.asset_graph
    versions = Versions(context.instance, graph, roots)
    key = table_key(spec)
    partitions = list(context.partition_keys)
    code_version = graph.get(key).code_version or ""
    logged: list[dg.AssetMaterialization] = []
    failed = obstacles(context.instance, graph, versions, key, partitions)
    for partition in partitions:
        if partition in failed:
            continue
        upstream = {UPSTREAM_TAG: versions.upstream(key, partition)}
        inputs = versions.input_tags(key, partition)
        result = PartitionResult(MultisetHash())
        try:
            update = _update(spec, partition, stream(partition), result, drop_strategy, has_drops)
            lake.replace([Replacement(spec.name, update.rows, {PARTITION_COLUMN: partition}), *update.also])
            if result.unanswered:
                raise _unanswered_error(result.unanswered, failures or {})
        except SynthError as error:
            failed[partition] = str(error)
            continue
        data_version = result.version.hexdigest()
        tags = {
            DATA_VERSION_TAG: data_version,
            "dagster/data_version_is_user_provided": "true",
            CODE_VERSION_TAG: code_version,
            **inputs,
            **upstream,
        }
        logged.append(dg.AssetMaterialization(key, partition=partition, tags=tags, metadata=result.metadata()))
    # Yielded, not logged through the context: what is logged there is lost when the step raises.
    if failed and not _goes_on_below(context, key):
        yield from logged
        for partition, error in failed.items():
            yield _observed_failure(key, partition, error)
        raise dg.Failure(_failure_text(failed, len(partitions)), allow_retries=False)
    yield _output(partitions, logged)
    if len(partitions) > 1:
        yield from logged
    for partition, error in failed.items():
        # After Dagster's own, which it logged for every partition of the output, so that this one counts.
        tags = {DATA_VERSION_TAG: "failed", FAILED_TAG: context.run_id}
        yield dg.AssetMaterialization(key, partition=partition, tags=tags, metadata={"error": error})
        yield _observed_failure(key, partition, error)


def _goes_on_below(context: dg.AssetExecutionContext, key: dg.AssetKey) -> bool:
    layer = context.job_def.asset_layer
    return not layer.selected_asset_keys.isdisjoint(layer.asset_graph.get(key).child_keys)


def _observed_failure(key: dg.AssetKey, partition: str, error: str) -> dg.AssetObservation:
    return dg.AssetObservation(key, partition=partition, tags={FAILED_TAG: "true"}, metadata={"error": error})


def _output(partitions: list[str], logged: list[dg.AssetMaterialization]) -> dg.MaterializeResult:
    if len(partitions) > 1 or not logged:
        return dg.MaterializeResult(metadata={"partitions": len(logged)})
    only = logged[0]
    tags = dict(only.tags or {})
    return dg.MaterializeResult(
        metadata=only.metadata,
        data_version=dg.DataVersion(tags[DATA_VERSION_TAG]),
        tags={UPSTREAM_TAG: tags[UPSTREAM_TAG]},
    )


def _update(
    spec: TableSpec,
    partition: str,
    items: Iterable[Item],
    result: PartitionResult,
    drop_strategy: str | None,
    has_drops: bool,
) -> TableUpdate:
    """Rows as a lazy stream, and the drops that are known once the rows have been read to their end."""
    rows = pa.RecordBatchReader.from_batches(spec.schema, _row_batches(spec, items, result))
    if not has_drops:
        return TableUpdate(rows)
    where = {PARTITION_COLUMN: partition, "strategy": drop_strategy}
    drops = pa.RecordBatchReader.from_batches(DROPS.schema, _drop_batches(result))
    return TableUpdate(rows, (Replacement(DROPS.name, drops, where),))


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


def _drop_batches(result: PartitionResult) -> Iterator[pa.RecordBatch]:
    now = datetime.now(UTC)
    for start in range(0, len(result.drops), ROWS_PER_BATCH):
        rows = [{**vars(drop), "created_at": now} for drop in result.drops[start : start + ROWS_PER_BATCH]]
        yield pa.RecordBatch.from_pylist(rows, schema=DROPS.schema)


def _unanswered_error(unanswered: list[Unanswered], failures: Mapping[str, Completion]) -> SynthError:
    keys = [key for document in unanswered for key in document.request_keys]
    reasons = Counter(failures[key].error_kind for key in keys if key in failures)
    causes = ", ".join(f"{count} {kind}" for kind, count in reasons.most_common()) or "not asked in this run"
    first = next((f" First: {failures[key].error}" for key in keys if key in failures), "")
    return SynthError(
        f"{len(keys)} calls for {len(unanswered)} documents have no answer ({causes}).{first}",
        "What was answered is kept; `synth run` asks only for the rest.",
    )


def _failure_text(failed: Mapping[str, str], total: int) -> str:
    first_partition, first_error = next(iter(failed.items()))
    others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    return f"{len(failed)} of {total} partitions failed; the others are kept. {first_partition}: {first_error}{others}"
