"""The merged documents that are left out of the training data, since another one that is kept says the same.

In: the table over all files, and its drops. Out: comparing (`signature_pairs`), and leaving them out (`exporting`).
`merged.documents` keeps its rows: which of two copies stays may change with every file that comes or goes.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake, Replacement
from synth_assets.assets.keys import NEAR_DUPLICATES, SIGNATURES
from synth_assets.assets.signature_pairs import Comparison, compare_new_signatures
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.near_duplicates import NearDuplicate, SignedDocument, near_duplicates
from synth_assets.core.quality_tables import NEAR_DUPLICATES as NEAR_DUPLICATE_TABLE
from synth_assets.core.quality_tables import SIGNATURES as SIGNATURE_TABLE
from synth_assets.core.quality_tables import SIMILAR_SIGNATURES
from synth_assets.core.tables import DROPS

MIX = "mix"
"""The strategy of these drops: they fall out of the mix, and the sums of every strategy hold without them."""

_DOCUMENT_SCHEMA = pa.schema([pa.field(name, pa.string()) for name in SignedDocument.__dataclass_fields__])

# Only documents that are alike to any other: what is sorted and looked at does not grow with the corpus.
_DOCUMENTS = f"""SELECT {", ".join(_DOCUMENT_SCHEMA.names)} FROM {SIGNATURE_TABLE.name}
WHERE signature_id IN (SELECT first_id FROM {SIMILAR_SIGNATURES.name})
OR signature_id IN (SELECT second_id FROM {SIMILAR_SIGNATURES.name})
OR signature_id IN (SELECT signature_id FROM {SIGNATURE_TABLE.name} GROUP BY 1 HAVING count(*) > 1)
ORDER BY strategy <> ?, strategy, document_id, curator_file"""


@dg.asset(
    key=NEAR_DUPLICATES,
    deps=[SIGNATURES],
    group_name="merged",
    kinds={"duckdb"},
    description=NEAR_DUPLICATE_TABLE.description,
    code_version=code_fingerprint(near_duplicates, compare_new_signatures),
    metadata=definition_metadata(NEAR_DUPLICATE_TABLE),
)
def near_duplicate_documents(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> dg.MaterializeResult:
    """Compare what is new with everything, then decide for all which copy stays."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        compared = Comparison()
        rows: list[dict[str, Any]] = []
        if lake.has_table(SIGNATURE_TABLE.name):
            compared = compare_new_signatures(lake)
            rows = [near_duplicate_row(found) for found in find_near_duplicates(lake)]
        metadata = {
            "near-duplicates by strategy": dg.MetadataValue.json(dict(Counter(row["strategy"] for row in rows))),
            "new signatures": compared.new_count,
            "pairs compared": compared.compared_pair_count,
        }
        return pa.Table.from_pylist(rows, schema=NEAR_DUPLICATE_TABLE.schema), metadata

    def drops(table: pa.Table) -> list[Replacement]:
        return [Replacement(DROPS.name, drop_rows(table), {"strategy": MIX})]

    return materialize_table(context, NEAR_DUPLICATE_TABLE, roots, build, drops)


def find_near_duplicates(lake: Lake) -> Iterator[NearDuplicate]:
    """The documents to leave out, of those whose signatures have been compared."""
    similar: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for batch in lake.scan(SIMILAR_SIGNATURES.name):
        for row in batch.to_pylist():
            similar[row["first_id"]].append((row["second_id"], row["similarity"]))
            similar[row["second_id"]].append((row["first_id"], row["similarity"]))
    documents = (
        SignedDocument(**row)
        for batch in lake.stream(_DOCUMENTS, [ORIGINAL], _DOCUMENT_SCHEMA)
        for row in batch.to_pylist()
    )
    return near_duplicates(documents, similar)


def near_duplicate_row(found: NearDuplicate) -> dict[str, Any]:
    """One row of `merged.near_duplicates`."""
    return {
        "merged_id": found.document.merged_id,
        "document_id": found.document.document_id,
        "curator_file": found.document.curator_file,
        "strategy": found.document.strategy,
        "kept_merged_id": found.kept.merged_id,
        "kept_strategy": found.kept.strategy,
        "similarity": found.similarity,
    }


def drop_rows(near: pa.Table) -> pa.Table:
    """The drop of each row of `merged.near_duplicates`."""
    created_at = datetime.now(UTC)
    rows = [
        {
            "document_id": row["document_id"],
            "curator_file": row["curator_file"],
            "row_number": None,
            "strategy": MIX,
            "stage": "near_duplicate",
            "reason": "near_duplicate",
            "detail": f"{row['strategy']} {row['merged_id']} is like {row['kept_strategy']} {row['kept_merged_id']}, "
            f"which is kept: {row['similarity']:.2f}",
            "created_at": created_at,
        }
        for row in near.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=DROPS.schema)
