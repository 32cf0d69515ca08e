"""How a partitioned asset materializes any number of partitions in one run, each with a data version of its own.

In: streams of rows, drops and unanswered documents, one for each partition. Out: what those rows are, and how they are
written (`partition_rows`).

Dagster gives every partition of a range run one and the same data version (dagster #34013). So a range run logs, after
the output that its downstream steps wait for, one materialization for each partition with that partition's versions.
A partition that fails does not stop the others: they are kept and logged. Then the step fails and names the failed,
unless the run goes on below this asset: Dagster would skip that for every file. In such a run a failed partition gets a
materialization that is marked as failed, what rests on it is marked alike, and the run is failed by the check
`every_partition_was_made` (`checks`), which is a step that nothing waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import dagster as dg

from resources.errors import SynthError
from resources.inference import Completion
from resources.lake import Lake
from synth_assets.assets.dead_runs import mark_run
from synth_assets.assets.keys import table_key
from synth_assets.assets.obstacles import obstacles
from synth_assets.assets.partition_rows import Item, PartitionResult, PartitionTable
from synth_assets.assets.versions import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    FAILED_TAG,
    UPSTREAM_TAG,
    RootVersions,
    Versions,
)
from synth_assets.core.generation import Unanswered
from synth_assets.core.tables import TableSpec

Event = dg.MaterializeResult | dg.AssetMaterialization | dg.AssetObservation


def materialize_partitions(
    context: dg.AssetExecutionContext,
    spec: TableSpec,
    lake: Lake,
    roots: RootVersions,
    stream: Callable[[str], Iterable[Item]],
    drop_strategy: str | None = None,
    has_drops: bool = False,
    failures: Mapping[str, Completion] | None = None,
    is_read_by_others: bool = False,
) -> Iterator[Event]:
    """Materialize each partition of the run from `stream(partition)`, replacing its rows and drops in one transaction.

    `failures` are the requests that failed in this run, to name the cause of documents without an answer. Each
    partition is followed, at the end, by a materialization of its own. `is_read_by_others` and the others are
    `PartitionTable`'s.
    """
    mark_run(context.instance, context.run)
    graph = context.job_def.asset_layer.asset_graph
    versions = Versions(context.instance, graph, roots)
    key = table_key(spec)
    partitions = list(context.partition_keys)
    code_version = graph.get(key).code_version or ""
    logged: list[dg.AssetMaterialization] = []
    failed = obstacles(context.instance, graph, versions, key, partitions)
    table = PartitionTable(lake, spec, stream, drop_strategy, has_drops, is_read_by_others)
    # Before anything is made: the versions of what it is made from.
    inputs = {
        partition: {**versions.input_tags(key, partition), UPSTREAM_TAG: versions.upstream(key, partition)}
        for partition in partitions
        if partition not in failed
    }
    for partition, result in _replaced(table, list(inputs), failed):
        if result.unanswered:
            failed[partition] = str(_unanswered_error(result.unanswered, failures or {}))
            continue
        own = {
            DATA_VERSION_TAG: result.version.hexdigest(),
            "dagster/data_version_is_user_provided": "true",
            CODE_VERSION_TAG: code_version,
        }
        tags = {**own, **inputs[partition]}
        logged.append(dg.AssetMaterialization(key, partition=partition, tags=tags, metadata=result.metadata()))
    # Yielded, not logged through the context: what is logged there is lost when the step raises.
    if failed and not _goes_on_below(context, key):
        yield from logged
        for partition, error in failed.items():
            yield _observed_failure(key, partition, error)
        raise dg.Failure(_failure_text(failed, len(partitions)), allow_retries=False)
    yield dg.MaterializeResult(metadata={"partitions": len(logged)})
    # After Dagster's own, which give a root's partition, known from observations alone, the hash of nothing as version.
    yield from logged
    for partition, error in failed.items():
        # After Dagster's own, which it logged for every partition of the output, so that this one counts.
        tags = {DATA_VERSION_TAG: "failed", FAILED_TAG: context.run_id}
        yield dg.AssetMaterialization(key, partition=partition, tags=tags, metadata={"error": error})
        yield _observed_failure(key, partition, error)


def _replaced(
    table: PartitionTable, partitions: Sequence[str], failed: dict[str, str]
) -> Iterator[tuple[str, PartitionResult]]:
    """Each partition whose rows are replaced, several in a transaction; one whose stream raises goes to `failed`."""
    waiting = list(partitions)
    together = len(waiting)
    while waiting:
        try:
            results = table.replace_next(waiting[:together])
        except SynthError as error:
            if together == 1:
                failed[waiting.pop(0)] = str(error)
            # One of those that would have been written together; from here on each finds out by itself.
            together = 1
            continue
        yield from results.items()
        waiting = waiting[len(results) :]


def _goes_on_below(context: dg.AssetExecutionContext, key: dg.AssetKey) -> bool:
    layer = context.job_def.asset_layer
    return not layer.selected_asset_keys.isdisjoint(layer.asset_graph.get(key).child_keys)


def _observed_failure(key: dg.AssetKey, partition: str, error: str) -> dg.AssetObservation:
    return dg.AssetObservation(key, partition=partition, tags={FAILED_TAG: "true"}, metadata={"error": error})


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
