"""The signature of every merged document, which near-duplicates are found by.

In: streaming merged documents past the sketch. Out: the sketch (`core.near_duplicates`), comparing (`near_duplicates`).
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from synth_assets.assets.keys import CURATOR_FILE, MERGED, ONE_RUN, SIGNATURES
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.near_duplicates import sign
from synth_assets.core.passages import model_part
from synth_assets.core.quality_tables import SIGNATURES as SIGNATURE_TABLE
from synth_assets.core.tables import MERGED_DOCUMENTS


def signatures_code_version() -> str:
    """Of the rules and of the library: another minor version of it gives other signatures."""
    return f"{code_fingerprint(sign, model_part)}-rensa{'.'.join(version('rensa').split('.')[:2])}"


@dg.asset(
    key=SIGNATURES,
    deps=[MERGED],
    group_name="metrics",
    kinds={"duckdb"},
    description=SIGNATURE_TABLE.description,
    code_version=signatures_code_version(),
    metadata=definition_metadata(SIGNATURE_TABLE, PARTITION_COLUMN),
    partitions_def=CURATOR_FILE,
    backfill_policy=ONE_RUN,
)
def signatures(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> Iterator[Event]:
    """Sketch each document of the partitions."""

    def stream(curator_file: str) -> Iterator[Item]:
        return signature_batches(lake, curator_file)

    yield from materialize_partitions(context, SIGNATURE_TABLE, lake, roots, stream)


def signature_batches(lake: Lake, curator_file: str) -> Iterator[pa.RecordBatch]:
    """Rows of `metrics.signatures` of one file, batch by batch.

    Of a text that stands after its passage only the model's part counts: with the passage it would be a near-duplicate
    of its original.
    """
    columns = ["merged_id", "document_id", "strategy", "text", "segments"]
    for batch in lake.scan(MERGED_DOCUMENTS.name, columns=columns, where={PARTITION_COLUMN: curator_file}):
        texts = zip(batch.column("text").to_pylist(), batch.column("segments").to_pylist(), strict=True)
        made = sign([_models_own(text, segments or []) for text, segments in texts])
        yield pa.RecordBatch.from_pydict(
            {
                **{name: batch.column(name) for name in columns[:-2]},
                "curator_file": [curator_file] * batch.num_rows,
                "signature_id": [one.signature_id for one in made],
                "shingle_count": [one.shingle_count for one in made],
                "signature": [one.values for one in made],
                "bands": [one.bands for one in made],
            },
            schema=SIGNATURE_TABLE.schema,
        )


def _models_own(text: str, segments: list[dict[str, Any]]) -> str:
    return model_part(text, [part["text_start"] for part in segments], [part["text_end"] for part in segments])
