"""Perplexity of every merged document, originals included, under one named reference model.

In: streaming merged documents past the scorer. Out: the computation (`core.perplexity`) and the memory (`reference`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.keys import CURATOR_FILE, MERGED, ONE_RUN, PERPLEXITY, PERPLEXITY_REFERENCE
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.reference import ReferenceScorer
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.tables import MERGED_DOCUMENTS
from synth_assets.core.tables import PERPLEXITY as PERPLEXITY_TABLE

SCORING_VERSION = "1"
"""Raised when the definition of a score changes (windows, first token): then stored scores do not count any more."""


@dg.asset(
    key=PERPLEXITY,
    deps=[MERGED, PERPLEXITY_REFERENCE],
    group_name="metrics",
    kinds={"pytorch", "duckdb"},
    description=PERPLEXITY_TABLE.description,
    code_version=SCORING_VERSION,
    metadata=definition_metadata(PERPLEXITY_TABLE, PARTITION_COLUMN),
    pool="perplexity",
    partitions_def=CURATOR_FILE,
    backfill_policy=ONE_RUN,
)
def perplexity(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
    reference: dg.ResourceParam[ReferenceScorer],
) -> Iterator[Event]:
    """Score what was never scored by this model; read the rest."""
    if reference.model.warning:
        context.log.warning(reference.model.warning)

    def stream(curator_file: str) -> Iterator[Item]:
        return _rows(lake, reference, curator_file)

    yield from materialize_partitions(context, PERPLEXITY_TABLE, lake, roots, stream)


def _rows(lake: Lake, reference: ReferenceScorer, curator_file: str) -> Iterator[dict[str, Any]]:
    columns = ["merged_id", "document_id", "strategy", "text"]
    for batch in lake.scan(MERGED_DOCUMENTS.name, columns=columns, where={PARTITION_COLUMN: curator_file}):
        rows = batch.to_pylist()
        for row, score in zip(rows, reference.score([row["text"] for row in rows]), strict=True):
            yield {
                "merged_id": row["merged_id"],
                "document_id": row["document_id"],
                "curator_file": curator_file,
                "strategy": row["strategy"],
                "reference_model": reference.model.name,
                "perplexity": score.perplexity,
                "bits_per_byte": score.bits_per_byte,
                "negative_log_likelihood": score.negative_log_likelihood,
                "token_count": score.scored_token_count,
                "byte_count": score.byte_count,
            }
