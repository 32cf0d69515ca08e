"""The measures of every merged document, originals included.

In: streaming merged documents past the measures, each beside its source, and how texts of one strategy begin alike.
Out: the measures (`core.measures`), and verdicts (`core.gates`, `quality_checks`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.beside_source import OPENING_SQL, documents_beside_source
from synth_assets.assets.keys import CURATOR_FILE, MERGED, ONE_RUN, TEXT_QUALITY
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.measures.text_quality import measure
from synth_assets.core.passages import model_part
from synth_assets.core.quality_tables import TEXT_QUALITY as TEXT_QUALITY_TABLE
from synth_assets.core.tables import MERGED_DOCUMENTS


def _rows(lake: Lake, curator_file: str) -> Iterator[dict[str, Any]]:
    openings = _Openings.of(lake, curator_file)
    for row, source in documents_beside_source(lake, curator_file):
        yield {
            "merged_id": row["merged_id"],
            "document_id": row["document_id"],
            "curator_file": curator_file,
            "strategy": row["strategy"],
            **vars(measure(source, model_part(row["text"], row["starts"] or (), row["ends"] or ()))),
            "opening": row["opening"],
            "opening_share": openings.share(row["strategy"], row["opening"]),
        }


@dataclass(frozen=True)
class _Openings:
    """How the documents of one file begin."""

    documents: Mapping[str, int]
    """Number of documents by strategy."""
    repeated: Mapping[tuple[str, str], int]
    """Number of documents by strategy and opening, where it is more than one."""

    @classmethod
    def of(cls, lake: Lake, curator_file: str) -> "_Openings":
        table = MERGED_DOCUMENTS.name
        counted = lake.query(
            f"SELECT strategy, count(*) FROM {table} WHERE curator_file = ? GROUP BY 1",  # noqa: S608
            [curator_file],
        )
        repeated = lake.query(
            f"SELECT strategy, {OPENING_SQL}, count(*) FROM {table} WHERE curator_file = ?"  # noqa: S608
            " GROUP BY 1, 2 HAVING count(*) > 1",
            [curator_file],
        )
        strategies, openings, counts = (column.to_pylist() for column in repeated.columns)
        documents = zip(*(column.to_pylist() for column in counted.columns), strict=True)
        return cls(dict(documents), dict(zip(zip(strategies, openings, strict=True), counts, strict=True)))

    def share(self, strategy: str, opening: str) -> float:
        """Share of the strategy's documents that begin so."""
        return self.repeated.get((strategy, opening), 1) / self.documents[strategy]


@dg.asset(
    key=TEXT_QUALITY,
    deps=[MERGED],
    group_name="metrics",
    kinds={"python", "duckdb"},
    description=TEXT_QUALITY_TABLE.description,
    code_version=code_fingerprint(measure, _rows),
    metadata=definition_metadata(TEXT_QUALITY_TABLE, PARTITION_COLUMN),
    partitions_def=CURATOR_FILE,
    backfill_policy=ONE_RUN,
)
def text_quality(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> Iterator[Event]:
    """Measure the files whose merged documents changed."""

    def stream(curator_file: str) -> Iterator[Item]:
        return _rows(lake, curator_file)

    yield from materialize_partitions(context, TEXT_QUALITY_TABLE, lake, roots, stream)
